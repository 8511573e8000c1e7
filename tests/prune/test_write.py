from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from facedistill.checkpoint import BackboneSpec, Checkpoint, load_checkpoint
from facedistill.embedders.load import load_model_checkpoint
from facedistill.errors import DataError, UsageError
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.prune import write
from facedistill.prune.write import check_place, write_pruned
from facedistill.training.run_folder import is_run


@pytest.fixture
def checkpoint() -> Checkpoint:
    backbone = build_backbone("tinyfacenet", embedding_size=8, width=0.25, input_size=32).eval()
    return Checkpoint(backbone, BackboneSpec("tinyfacenet", 8, 0.25), Preprocessing(size=32))


def test_a_run_folder(checkpoint: Checkpoint, tmp_path: Path) -> None:
    weights = write_pruned(tmp_path / "deep" / "run", checkpoint, {"model": "parent", "macs": 0.5})
    assert weights == tmp_path / "deep" / "run" / "last" / "backbone.safetensors"
    assert is_run(tmp_path / "deep" / "run")
    config = yaml.safe_load((tmp_path / "deep" / "run" / "config.yaml").read_text())
    assert (config["model"], config["macs"], config["run"]["command"]) == ("parent", 0.5, "prune")
    images = torch.randn(1, 3, 32, 32)
    loaded = load_model_checkpoint(tmp_path / "deep" / "run")
    assert torch.equal(loaded.backbone(images), checkpoint.backbone(images))
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["run"]


def test_a_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    assert write_pruned(out, checkpoint, {}) == out
    assert load_checkpoint(out).spec == checkpoint.spec
    assert list(tmp_path.iterdir()) == [out]


def test_an_earlier_run_is_replaced_whole(checkpoint: Checkpoint, tmp_path: Path) -> None:
    out = tmp_path / "run"
    write_pruned(out, checkpoint, {})
    (out / "metrics.jsonl").write_text("")
    write_pruned(out, checkpoint, {"macs": 0.25})
    assert sorted(entry.name for entry in out.iterdir()) == ["config.yaml", "last"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("step", ["save_checkpoint", "is moved"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_what_was_there(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    interruption: type[BaseException] | BaseException,
) -> None:
    out = tmp_path / "run"
    write_pruned(out, checkpoint, {"macs": 0.5})
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stop(*arguments: object) -> None:
        raise interruption

    if step == "save_checkpoint":
        monkeypatch.setattr(write, "save_checkpoint", stop)
    else:
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda path, to: stop() if path.name.endswith(".partial") else rename(path, to)
        )
    with pytest.raises((KeyboardInterrupt, DataError)) as caught:
        write_pruned(out, checkpoint, {"macs": 0.25})
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    if caught.type is DataError:
        assert str(caught.value) == f"{out}: the pruned network cannot be written (no space left on device)"


def test_a_place_that_cannot_be_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("run", "small.safetensors"):
        with pytest.raises(DataError, match="cannot be written"):
            write_pruned(tmp_path / "file" / name, checkpoint, {})


def test_places_that_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "parent" / "last" / "backbone.safetensors"
    write_pruned(run, checkpoint, {})
    write_pruned(tmp_path / "parent", checkpoint, {})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "empty").mkdir()
    for out, overwrite, message in (
        (run, False, "there is something already"),
        (tmp_path / "photos", True, "is not a run"),
        (tmp_path / "photos", False, "there is something already"),
        (tmp_path / "parent", True, "would replace the model"),
        (model, True, "would replace the model"),
        (tmp_path / "file", True, "there is a file already, and a folder is to be written"),
        (tmp_path / "folder.safetensors", True, "there is a folder already, and a file is to be written"),
        (tmp_path / "small.onnx", False, "writes a run folder or a .safetensors checkpoint"),
    ):
        with pytest.raises(UsageError, match=message):
            check_place(out, model, overwrite=overwrite)
    for out, overwrite in ((run, True), (tmp_path / "new", False), (tmp_path / "empty", False)):
        check_place(out, model, overwrite=overwrite)
    write_pruned(tmp_path / "empty", checkpoint, {})
    assert is_run(tmp_path / "empty")
