from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.checkpoint import load_checkpoint
from facedistill.data.batches.loader import ImageBatch
from facedistill.data.folder import FolderDataset
from facedistill.distill import METHODS
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.heads import HEADS, MarginHead
from facedistill.preprocessing import Preprocessing
from facedistill.training import loop
from facedistill.training.distill import prepare_distillation
from facedistill.training.engine import Engine
from facedistill.training.epoch_plan import EpochPlan
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.teaching import Lesson
from facedistill.training.train_teacher import prepare_teacher, train_teacher
from facedistill.training.training import Training

from .conftest import distill_options, teacher_options, weights

pytestmark = pytest.mark.usefixtures("no_curves")


class Plain(nn.Module):
    """A network without batch norms, whose embeddings do not depend on the other images of the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=4), nn.PReLU(6), nn.Flatten(), nn.Linear(6 * 7**2, 16), nn.LayerNorm(16)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(images)
        return output


def prepare(dataset: FolderDataset, folder: Path, *, plain: bool = False, **changes: Any) -> Training:
    options = teacher_options(input_size=32, **changes)
    training = prepare_teacher(dataset, RunFolder(folder / "run"), options)
    if plain:
        training.backbone = Plain()
    return training


def take_steps(
    training: Training, steps: int, *, rate: float = 0.1, after: Callable[[Engine], None] | None = None
) -> Engine:
    """So many steps of the first epoch, without the loop."""
    engine = Engine(training)
    plan = EpochPlan.make(training.sampler, training.options, 0, len(training.dataset))
    size = training.options.accumulate
    for number in range(steps):
        places = range(number * size, (number + 1) * size)
        engine.step([(place, load(training, plan, place)) for place in places], plan, rate=rate)
        engine.state.progress.step += 1
        if after is not None:
            after(engine)
    return engine


def load(training: Training, plan: EpochPlan, place: int) -> ImageBatch:
    indices = plan.batches[place]
    images = np.stack([training.dataset.image(int(index)) for index in indices])
    return ImageBatch(training.preprocessing.resize(images), indices, {})


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


# The running average of the weights.


def test_the_average_is_that_of_the_weights_after_each_step(dataset: FolderDataset, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    training = prepare(dataset, tmp_path, batch_size=8, ema=0.3)
    engine = take_steps(training, 5, after=lambda engine: seen.append(state_of(engine.state.backbone)))
    expected = {name: value.double() for name, value in seen[0].items()}
    # 2/11, 3/12, 4/13 and so on of itself, and never more than was asked for.
    for taken, state in enumerate(seen[1:], start=1):
        kept = min(0.3, (1 + taken) / (10 + taken))
        expected = {name: kept * expected[name] + (1 - kept) * state[name].double() for name in state}
    found = engine.state.final_backbone
    assert found is not engine.state.backbone
    floating = {name for name, value in seen[0].items() if value.is_floating_point()}
    assert "norm.running_var" in floating  # the average is used with the average of its statistics
    for name in floating:
        assert torch.allclose(state_of(found)[name].double(), expected[name], rtol=1e-5, atol=1e-7), name
    assert largest_difference(state_of(found), seen[-1]) > 1e-4


def test_without_an_average_the_network_is_the_result(dataset: FolderDataset, tmp_path: Path) -> None:
    engine = Engine(prepare(dataset, tmp_path))
    assert engine.state.final_backbone is engine.state.backbone


def test_the_average_is_evaluated_and_saved(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "look_at_result", lambda *_: None)  # which may change the statistics
    seen: list[dict[str, torch.Tensor]] = []

    def follow(embedder: TorchEmbedder) -> dict[str, float]:
        seen.append(state_of(embedder.backbone))
        return {"accuracy": 0.1 * len(seen)}

    options = teacher_options(ema=0.9, epochs=3)
    train_teacher(dataset, RunFolder(tmp_path / "a"), options, listeners=Listeners(follow=follow))
    saved = load_checkpoint(tmp_path / "a" / "last" / "backbone.safetensors").backbone.state_dict()
    best = load_checkpoint(tmp_path / "a" / "best.safetensors").backbone.state_dict()
    assert largest_difference(saved, seen[-1]) == 0
    assert largest_difference(best, seen[-1]) == 0
    # The steps themselves are those of a run without an average.
    train_teacher(dataset, RunFolder(tmp_path / "b"), teacher_options(epochs=3))
    state = torch.load(tmp_path / "a" / "last" / "state.pt", weights_only=True)
    assert largest_difference(state["backbone"], {**state["backbone"], **weights(tmp_path / "b")}) == 0
    assert largest_difference(saved, state["backbone"]) > 1e-4


# Several batches to a step.


@pytest.mark.parametrize("head", ["arcface", "softmax"])
def test_two_batches_of_8_make_a_step_of_16(head: str, dataset: FolderDataset, tmp_path: Path) -> None:
    changes = {"head": head, "scale": None, "margin": None, "clip_norm": 1.0, "plain": True}
    seen: dict[int, list[dict[str, torch.Tensor]]] = {1: [], 2: []}
    figures = {}
    for accumulate, kept in seen.items():
        training = prepare(
            dataset, tmp_path / str(accumulate), batch_size=16 // accumulate, accumulate=accumulate, **changes
        )
        start = state_of(training.backbone)
        engine = take_steps(training, 3, after=lambda engine, kept=kept: kept.append(state_of(engine.state.backbone)))
        figures[accumulate] = engine.state.meter.figures()
        assert largest_difference(start, kept[-1]) > 1e-2
    for one, two in zip(seen[1], seen[2], strict=True):
        assert largest_difference(one, two) < 1e-6
    for name in ("loss", "train_accuracy", "gradient_norm"):
        assert figures[1][name] == pytest.approx(figures[2][name], rel=1e-5)


# Precision and layout.


def test_bf16_trains_and_heads_get_float32(
    dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: set[torch.dtype] = set()
    inside: set[torch.dtype] = set()
    forward = MarginHead.forward

    def watched(head: MarginHead, embeddings: torch.Tensor, labels: torch.Tensor) -> Any:
        given.add(embeddings.dtype)
        return forward(head, embeddings, labels)

    monkeypatch.setattr(MarginHead, "forward", watched)
    training = prepare(dataset, tmp_path, precision="bf16", batch_size=16)
    training.backbone.get_submodule("blocks.0.0").register_forward_hook(lambda _, __, output: inside.add(output.dtype))
    engine = take_steps(training, 1)
    assert (given, inside) == ({torch.float32}, {torch.bfloat16})
    assert {parameter.dtype for parameter in engine.state.backbone.parameters()} == {torch.float32}
    records = train_teacher(dataset, RunFolder(tmp_path / "long"), teacher_options(precision="bf16", epochs=10))
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert records[-1]["train_accuracy"] > records[0]["train_accuracy"]


def test_the_layout_of_the_channels_changes_nothing(dataset: FolderDataset, tmp_path: Path) -> None:
    found = {}
    for last in (True, False):
        training = prepare(dataset, tmp_path / str(last), channels_last=last, batch_size=16)
        convolution = training.backbone.get_parameter("blocks.0.0.weight")
        engine = take_steps(training, 3, rate=0.02)
        assert convolution.is_contiguous(memory_format=torch.channels_last) is last
        found[last] = state_of(engine.state.backbone)
    assert largest_difference(found[True], found[False]) < 1e-4


def check_compiled(dataset: FolderDataset, tmp_path: Path) -> None:
    """A compiled run against one that is not: evaluated, with a running average, looked at in the end, and saved."""
    accuracies: dict[bool, list[float]] = {True: [], False: []}
    for compiled, found in accuracies.items():

        def follow(embedder: TorchEmbedder, found: list[float] = found) -> dict[str, float]:
            rows = embedder.embed(np.stack([dataset.image(index) for index in range(8)]))
            found.append(float(rows.std()))
            return {"accuracy": found[-1]}

        # Small images and a low rate, at which differences in rounding do not grow from step to step.
        options = teacher_options(compile=compiled, lr=0.01, ema=0.5, input_size=32)
        train_teacher(dataset, RunFolder(tmp_path / str(compiled)), options, listeners=Listeners(follow=follow))
    assert largest_difference(weights(tmp_path / "True"), weights(tmp_path / "False")) < 1e-4
    assert accuracies[True] == pytest.approx(accuracies[False], rel=1e-3)


def test_compiling_changes_nothing(dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    compile_ = nn.Module.compile

    def quickly(module: nn.Module, **options: Any) -> None:
        compiled.append(module)
        compile_(module, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", quickly)
    check_compiled(dataset, tmp_path)
    assert len(compiled) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiling_by_inductor_changes_nothing(dataset: FolderDataset, tmp_path: Path) -> None:
    check_compiled(dataset, tmp_path)


# Nothing waits for the device.

WAITING = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu", "nonzero", "__contains__")


@contextmanager
def no_waiting() -> Iterator[None]:
    """Every way from a tensor to Python is barred; the CPU would not show that a GPU is waited for.

    Not for augmentation, whose choices are tensors of the CPU wherever the rest is.
    """

    def refuse(name: str) -> Callable[..., Any]:
        def refused(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"Tensor.{name} waits for the device")

        return refused

    with pytest.MonkeyPatch.context() as patch:
        for name in WAITING:
            patch.setattr(torch.Tensor, name, refuse(name))
        yield


STEPS: list[dict[str, Any]] = [
    *({"head": entry.name} for entry in HEADS),
    {"head": "arcface", "partial_fc": 1.0},
    {"head": "adaface", "partial_fc": 0.5},
    {"head": "cosface", "accumulate": 2, "nesterov": True},
    {"head": "cosface", "ema": 0.9},
    *(
        {"method": entry.name}
        for entry in METHODS
        if not entry.factory.needs(entry.factory.options()).features  # a cache has none
    ),
    {"method": "cosine", "plus": ("triplet-distillation", "margin-softmax:0.1")},
]


def prepare_any(changes: dict[str, Any], dataset: FolderDataset, folder: Path, **more: Any) -> Training:
    if "method" not in changes:
        values = {**changes, "batch_size": 8, "scale": None, "margin": None, **more}
        return prepare(dataset, folder, **values)
    rows = np.random.default_rng(0).normal(size=(2, len(dataset), 16)).astype(np.float32)
    keys = [dataset.key(index) for index in range(len(dataset))]
    sums = np.zeros(len(dataset), np.uint32)
    cache = EmbeddingCache.in_memory(keys, rows[0], rows[1], "noise", "", Preprocessing(), dataset.fingerprint, sums)
    options = distill_options(input_size=32, **{**changes, **more})
    training = prepare_distillation(dataset, cache, RunFolder(folder / "run"), options)
    if training.teacher is not None:
        training.teacher = Host(rows[0], rows[1])
    return training


class Host:
    """Looks rows up as a cache does, without the tensors of the host that a cache makes on the way."""

    def __init__(self, original: np.ndarray, mirrored: np.ndarray) -> None:
        self.original, self.mirrored = original, mirrored

    def lesson(self, indices: np.ndarray, mirrored: np.ndarray, views: torch.Tensor) -> Lesson:
        rows = np.where(mirrored[:, None], self.mirrored[indices], self.original[indices])
        values = torch.from_numpy(rows)
        if views.device.type == "cuda":
            values = values.pin_memory()
        return Lesson(values.to(views.device, non_blocking=True))


def bare_step(training: Training, barred: Callable[[], Any]) -> None:
    """Two steps under the given restriction; what is cached on the way is made by one before."""
    engine = take_steps(training, 1)
    plan = EpochPlan.make(training.sampler, training.options, 1, len(training.dataset))
    size = training.options.accumulate
    batches = [(place, load(training, plan, place)) for place in range(2 * size)]
    with barred():
        for number in range(2):
            engine.step(batches[number * size : (number + 1) * size], plan, rate=0.1)
            engine.state.progress.step += 1
    assert engine.state.meter.first_bad_step() is None
    assert engine.state.meter.figures()["loss"] > 0


@pytest.mark.parametrize("changes", STEPS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_step_waits_for_nothing(changes: dict[str, Any], dataset: FolderDataset, tmp_path: Path) -> None:
    bare_step(prepare_any(changes, dataset, tmp_path), no_waiting)


@contextmanager
def cuda_refuses_to_wait() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("changes", STEPS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_step_on_a_gpu_waits_for_nothing(
    changes: dict[str, Any], precision: str, dataset: FolderDataset, tmp_path: Path
) -> None:
    training = prepare_any(changes, dataset, tmp_path, device="cuda", precision=precision)
    bare_step(training, cuda_refuses_to_wait)


def test_the_bar_holds() -> None:
    for wait in (lambda x: x.item(), float, bool, lambda x: x.tolist(), lambda x: [0, 1][x], lambda x: x.numpy()):
        with pytest.raises(AssertionError, match="waits for the device"), no_waiting():
            wait(torch.ones((), dtype=torch.int64))
