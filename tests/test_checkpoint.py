from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from facedistill.checkpoint import BackboneSpec, Checkpoint, load_checkpoint, restore_backbone, save_checkpoint
from facedistill.errors import ModelFileError
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    backbone = build_backbone("tinyfacenet", embedding_size=16, width=0.5, input_size=64).eval()
    return Checkpoint(
        backbone, BackboneSpec("tinyfacenet", 16, 0.5), Preprocessing(size=64, color="bgr"), {"seed": 3, "name": "Ödön"}
    )


def test_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    images = torch.randn(3, 3, 64, 64)
    assert torch.equal(loaded.backbone(images), checkpoint.backbone(images))
    assert not loaded.backbone.training
    assert (loaded.spec, loaded.preprocessing, loaded.provenance) == (
        checkpoint.spec,
        checkpoint.preprocessing,
        checkpoint.provenance,
    )
    assert len(loaded.fingerprint) == 64
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_a_truncated_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_checkpoint(path)


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="no facedistill checkpoint"):
        load_checkpoint(path)


def test_weights_that_do_not_fit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Checkpoint(checkpoint.backbone, BackboneSpec("tinyfacenet", 32, 0.5), Preprocessing(size=64)))
    with pytest.raises(ModelFileError, match="does not fit its own description"):
        load_checkpoint(path)


def test_an_unknown_backbone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Checkpoint(checkpoint.backbone, BackboneSpec("vit", 16), Preprocessing()))
    with pytest.raises(ModelFileError, match="no backbone called 'vit'"):
        load_checkpoint(path)


def test_weights_that_are_not_finite(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with torch.no_grad():
        checkpoint.backbone.embed.weight[0, 0] = float("nan")  # type: ignore[index,union-attr]
    save_checkpoint(path, checkpoint)
    with pytest.raises(ModelFileError, match=r"weights in 'embed\.weight' are not finite"):
        load_checkpoint(path)


def test_a_checkpoint_holds_tensors_and_text_only(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    assert set(load_file(path)) == set(checkpoint.backbone.state_dict())


@pytest.fixture
def pruned(checkpoint: Checkpoint) -> Checkpoint:
    """As `checkpoint`, with 3 of the 8 channels that its stem makes taken out by hand."""
    tensors = checkpoint.backbone.state_dict()
    kept = torch.tensor([0, 2, 3, 5, 7])
    for name, tensor in tensors.items():
        if name.startswith(("blocks.0.", "blocks.1.")) and tensor.ndim:
            tensors[name] = tensor[kept]
        elif name == "blocks.2.0.weight":
            tensors[name] = tensor[:, kept]
    spec = BackboneSpec("tinyfacenet", 16, 0.5, pruned_from="a" * 64)
    backbone = restore_backbone(spec, tensors, input_size=64)
    return Checkpoint(backbone, spec, Preprocessing(size=64))


def test_a_pruned_network_round_trips(pruned: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "pruned.safetensors"
    save_checkpoint(path, pruned)
    loaded = load_checkpoint(path)
    images = torch.randn(3, 3, 64, 64)
    assert torch.equal(loaded.backbone(images), pruned.backbone(images))
    assert loaded.spec == pruned.spec
    assert loaded.backbone.get_submodule("blocks.1.0").groups == 5
    assert not loaded.backbone.training


def test_a_pruned_network_whose_layers_do_not_fit_one_another(pruned: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "pruned.safetensors"
    save_checkpoint(path, pruned)
    with safe_open(path, framework="pt") as stream:
        metadata = stream.metadata()
    tensors = load_file(path)
    tensors["blocks.2.0.weight"] = tensors["blocks.2.0.weight"][:, :4].contiguous()
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ModelFileError, match="does not fit its own description"):
        load_checkpoint(path)


def test_fewer_channels_are_an_error_where_nothing_was_pruned(pruned: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Checkpoint(pruned.backbone, BackboneSpec("tinyfacenet", 16, 0.5), Preprocessing(size=64)))
    with pytest.raises(ModelFileError, match="does not fit its own description"):
        load_checkpoint(path)


def test_a_network_that_was_not_pruned_is_described_as_before(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as stream:
        described = json.loads(stream.metadata()["backbone"])
    assert described == {"name": "tinyfacenet", "embedding_size": 16, "width": 0.5}
