from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.embedders.load import load_embedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import GateError, ModelFileError
from facedistill.export import onnx_file
from facedistill.export.onnx_file import export_onnx
from facedistill.models import BACKBONES, build_backbone
from facedistill.preprocessing import Preprocessing


def make_checkpoint(name: str = "tinyfacenet", size: int = 64, **preprocessing: object) -> Checkpoint:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=16, width=0.125, input_size=size)
    # Statistics of a trained network, not the neutral ones it starts with.
    for _ in range(3):
        backbone.train()(torch.randn(8, 3, size, size) * 2 + 1)
    return Checkpoint(
        backbone.eval(),
        BackboneSpec(name, 16, 0.125),
        Preprocessing(size=size, **preprocessing),  # type: ignore[arg-type]
        {"seed": 1},
    )


# One of each kind of layer; exporting a deep net takes many seconds.
QUICK = ("tinyfacenet", "mobilefacenet", "iresnet18", "mobilenetv3")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(entry.name, marks=() if entry.name in QUICK else pytest.mark.slow)
        for entry in BACKBONES
        if entry.name not in ("iresnet100", "iresnet200", "adaface-ir101")
    ],
)
def test_every_backbone_agrees_at_batches_it_was_not_traced_with(name: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(name)
    result = export_onnx(checkpoint, tmp_path / "model.onnx")
    assert set(result.parity) == {1, 2, 5}
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5, 7):
        images = torch.randn(batch, 3, 64, 64)
        with torch.inference_mode():
            expected = nn.functional.normalize(checkpoint.backbone(images)).numpy()
        actual = session.run(None, {"input": images.numpy()})[0]
        actual /= np.linalg.norm(actual, axis=1, keepdims=True)
        assert np.abs(actual - expected).max() < 1e-4


def test_the_file_describes_itself(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(color="bgr", mean=120.0, std=100.0)
    result = export_onnx(checkpoint, tmp_path / "deep" / "model.onnx")
    notes: list[str] = []
    embedder = load_embedder(tmp_path / "deep" / "model.onnx", device="cpu", note=notes.append)
    assert notes == []
    assert embedder.preprocessing == checkpoint.preprocessing
    assert embedder.embedding_size == 16
    assert embedder.fingerprint == result.sha256
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    torch_embedder = TorchEmbedder.from_checkpoint(checkpoint, name="torch", device=torch.device("cpu"))
    assert np.allclose(embedder.embed(crops), torch_embedder.embed(crops), atol=1e-4)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "deep" / "model.onnx").metadata_props}
    assert json.loads(metadata["facedistill.provenance"]) == {"seed": 1}
    assert metadata["facedistill.embedding_size"] == "16"


def test_no_batch_norm_is_in_training_mode(tmp_path: Path) -> None:
    export_onnx(make_checkpoint(), tmp_path / "model.onnx")
    for node in onnx.load(tmp_path / "model.onnx").graph.node:
        if node.op_type == "BatchNormalization":
            assert all(attribute.name != "training_mode" or attribute.i == 0 for attribute in node.attribute)


def test_training_mode_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    checkpoint.backbone.train()
    with pytest.raises(ModelFileError, match="in training mode"):
        export_onnx(checkpoint, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


class Unfaithful(nn.Module):
    """Gives one embedding while it is traced and another one after."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        embeddings = self.linear(images.mean(dim=(2, 3)))
        return embeddings if torch.compiler.is_compiling() else embeddings + 1


def test_disagreement_leaves_no_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint(Unfaithful().eval(), BackboneSpec("unfaithful", 4), Preprocessing(size=32))
    with pytest.raises(GateError, match="torch and onnxruntime disagree by"):
        export_onnx(checkpoint, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_difference_that_is_no_number_fails_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "measure_parity", lambda checkpoint, path: {1: float("nan")})
    with pytest.raises(GateError):
        export_onnx(make_checkpoint(), tmp_path / "model.onnx")
