from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.data.synthetic import SyntheticFaces
from facedistill.errors import GateError, ModelFileError
from facedistill.export.crops import Crops, read_crops
from facedistill.export.export import export_model, export_onnx
from facedistill.export.options import ExportOptions, Precision
from facedistill.export.source import source_of_checkpoint
from facedistill.models import BACKBONES
from facedistill.preprocessing import Preprocessing

from .made_checkpoints import made_checkpoint

# One of each kind of layer; exporting a deep net takes many seconds.
QUICK = ("tinyfacenet", "mobilefacenet", "iresnet18", "mobilenetv3")
every_backbone = pytest.mark.parametrize(
    "name",
    [pytest.param(entry.name, marks=() if entry.name in QUICK else pytest.mark.slow) for entry in BACKBONES],
)


@pytest.fixture(scope="module")
def crops() -> Crops:
    return read_crops(SyntheticFaces(20, 4, size=64), "drawn", count=32)


@every_backbone
def test_it_agrees_at_batches_it_was_not_traced_with(name: str, tmp_path: Path) -> None:
    checkpoint = made_checkpoint(name)
    result = export_onnx(checkpoint, tmp_path / "model.onnx")
    assert result.parity[0].batches == (1, 2, 5, 64)
    assert result.parity[0].largest_difference <= 1e-5
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        images = torch.randn(batch, 3, 64, 64)
        with torch.inference_mode():
            expected = nn.functional.normalize(checkpoint.backbone(images)).numpy()
        actual = session.run(None, {"input": images.numpy()})[0]
        actual /= np.linalg.norm(actual, axis=1, keepdims=True)
        assert np.abs(actual - expected).max() < 1e-5


@pytest.mark.slow
@every_backbone
@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-weights"])
def test_it_can_be_rounded(name: str, precision: Precision, crops: Crops, tmp_path: Path) -> None:
    result = export_model(
        source_of_checkpoint(made_checkpoint(name)), tmp_path / "model.onnx", ExportOptions(precision), crops=crops
    )
    if precision == "fp16":
        assert min(parity.lowest_cosine for parity in result.parity) >= 0.9999
    else:
        assert result.parity[1].mean_cosine >= 0.98


def test_half_precision_around_norms_that_stay(tmp_path: Path) -> None:
    result = export_onnx(made_checkpoint("iresnet18"), tmp_path / "model.onnx", ExportOptions("fp16"))
    assert result.parity[0].lowest_cosine >= 0.9999


def test_training_mode_is_refused(tmp_path: Path) -> None:
    checkpoint = made_checkpoint()
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
    with pytest.raises(GateError, match="does not follow its source"):
        export_onnx(checkpoint, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
