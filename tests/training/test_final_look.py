from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.checkpoint import load_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.models.tinyfacenet import TinyFaceNet
from facedistill.training import final_look
from facedistill.training.batch_norm import VANISHED, examine
from facedistill.training.engine import Engine
from facedistill.training.final_look import look_at_result
from facedistill.training.listeners import Listeners
from facedistill.training.loop import make_loader
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import prepare_teacher, train_teacher

from .conftest import teacher_options

pytestmark = pytest.mark.usefixtures("no_curves")
LAST = ("last", "backbone.safetensors")


def forget(net: nn.Module, channel: int = 0) -> None:
    """Leave a channel with the variance that training on images which do not move it would have left."""
    norm = net.blocks[0][1]  # type: ignore[index]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var[channel] = VANISHED / 2


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps after which a channel's variance has vanished, though the images move it."""
    step = Engine.step

    def forgetful_step(engine: Engine, *arguments: Any, **options: Any) -> None:
        step(engine, *arguments, **options)
        with torch.no_grad():
            forget(engine.state.final_backbone)

    monkeypatch.setattr(Engine, "step", forgetful_step)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_what_is_found_is_told_and_the_saved_network_repaired(
    ema: float, dataset: FolderDataset, tmp_path: Path
) -> None:
    notes: list[str] = []
    train_teacher(
        dataset, RunFolder(tmp_path / "run"), teacher_options(ema=ema), listeners=Listeners(note=notes.append)
    )
    assert notes == [
        "a look at the finished network found that 1 of 288 batch-norm channels explode for rare images, since their "
        "variance vanishes (first in blocks.0.1); its batch-norm statistics were estimated anew, and now all is well"
    ]
    saved = load_checkpoint(tmp_path.joinpath("run", *LAST)).backbone
    assert float(saved.blocks[0][1].running_var[0]) > 1e-3  # type: ignore[index, union-attr]


@pytest.mark.usefixtures("forgetful")
def test_statistics_that_are_no_better_are_told_with_advice(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_look, "repair", lambda net, inputs: (examine(net, inputs()),) * 2)
    notes: list[str] = []
    train_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(), listeners=Listeners(note=notes.append))
    assert len(notes) == 1
    assert notes[0].endswith("; new statistics do not help; another seed, more weight decay or a lower --lr may")


@pytest.mark.parametrize("images", [48, 9, 2])
def test_the_crops_are_those_of_training_in_whole_batches(
    images: int, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(faces)
    dataset = FolderDataset(faces) if images == 48 else _first(dataset, images)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(final_look, "repair", lambda net, inputs: seen.extend(inputs()))
    training = prepare_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options(mirror=True, augment_crop=1.0))
    with make_loader(training) as loader:
        assert look_at_result(training, training.backbone, loader) is None
    assert [len(batch) for batch in seen] == {48: [16, 16, 16], 9: [9], 2: [2]}[images]
    pixels = training.preprocessing.to_tensor(torch.from_numpy(np.stack([dataset.image(i) for i in range(images)])))
    # Each crop once, as it is.
    shown = sorted(tuple(image.flatten()[:64].tolist()) for batch in seen for image in batch)
    assert shown == sorted(tuple(image.flatten()[:64].tolist()) for image in pixels)


def _first(dataset: Any, images: int) -> Any:
    from facedistill.data.subset import Subset

    return Subset(dataset, np.linspace(0, len(dataset) - 1, images).astype(np.int64))


def test_a_healthy_network_keeps_its_weights_bit_for_bit(dataset: FolderDataset, tmp_path: Path) -> None:
    training = prepare_teacher(dataset, RunFolder(tmp_path / "run"), teacher_options())
    net = training.backbone
    assert isinstance(net, TinyFaceNet)
    images = training.preprocessing.to_tensor(torch.from_numpy(np.stack([dataset.image(i) for i in range(48)])))
    with torch.no_grad():
        for _ in range(50):
            net(images)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with make_loader(training) as loader:
        assert look_at_result(training, net, loader) is None
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
