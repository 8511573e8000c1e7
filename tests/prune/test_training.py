"""A pruned network is a start like any other: trained on, saved, and taken up again after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from facedistill.checkpoint import load_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.embedders.load import load_embedder
from facedistill.errors import UsageError
from facedistill.prune.prune import prune
from facedistill.prune.write import write_pruned
from facedistill.training import saving
from facedistill.training.distill import distill
from facedistill.training.distill_options import DistillOptions
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder

from ..embedders.made_teachers import Projection
from .made_networks import EMBEDDING_SIZE, SIZE, make_checkpoint

pytest.importorskip("torch_pruning")


class KilledError(BaseException):
    pass


def kill(done: int, total: int) -> None:
    if done == 4:
        raise KilledError


def test_a_killed_run_from_a_pruned_start_is_the_one_that_was_never_killed(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "plot_curves", lambda records, path: None)
    parent = make_checkpoint("tinyfacenet", 0.5)
    pruned = prune(parent, macs=0.5).checkpoint
    write_pruned(tmp_path / "pruned", pruned, {})
    dataset = FolderDataset(faces)
    teacher = Projection(SIZE, EMBEDDING_SIZE)
    options = DistillOptions(
        method="cosine", epochs=2, batch_size=16, warmup_epochs=0, device="cpu", save_every=1, lr=0.01
    )

    def run(name: str, resume: str = "no", listeners: Listeners | None = None) -> None:
        folder = RunFolder(tmp_path / name, resume=resume)
        distill(dataset, teacher, folder, options, init=tmp_path / "pruned", listeners=listeners)

    run("whole")
    with pytest.raises(KilledError):
        run("killed", listeners=Listeners(progress=kill))
    run("killed", resume="yes")
    whole, resumed = (load_file(tmp_path / name / "last" / "backbone.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())

    trained = load_checkpoint(tmp_path / "whole" / "last" / "backbone.safetensors")
    assert trained.spec == pruned.spec
    before = pruned.backbone.state_dict()
    assert all(value.shape == before[name].shape for name, value in trained.backbone.state_dict().items())
    assert not torch.equal(trained.backbone.state_dict()["embed.weight"], before["embed.weight"])
    config = yaml.safe_load((tmp_path / "whole" / "config.yaml").read_text())
    assert config["run"]["backbone"] == pruned.spec.to_dict()
    assert load_embedder(tmp_path / "whole", device="cpu").preprocessing.size == SIZE

    write_pruned(tmp_path / "pruned2", prune(parent, macs=0.6).checkpoint, {})
    with pytest.raises(UsageError, match="started with --init"):
        distill(dataset, teacher, RunFolder(tmp_path / "killed", resume="yes"), options, init=tmp_path / "pruned2")
