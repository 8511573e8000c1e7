"""What the processes of a run have to agree on, tried in each of two of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import FacedistillError
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import of_every, rank, ranks
from facedistill.training import saved, saving
from facedistill.training.epoch_plan import EpochPlan
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import prepare_teacher, train_teacher

from .conftest import teacher_options
from .shared_batches import DATA, train

SHARDED = {"head": "arcface", "rate": 1.0}
REPLICATED = {"head": "adaface"}
SAMPLED = {"head": "arcface", "rate": 0.5, "ema": 0.9}


def message_of(work: Callable[[], object]) -> str:
    """The message of the error that it ends with."""
    try:
        work()
    except (FacedistillError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def stop_another_at(step: int) -> Listeners:
    """Have the first process tell the last one, and only that, to stop."""
    target = of_every(os.getpid())[-1]

    def progress(done: int, _: int) -> None:
        if done == step:
            os.kill(target, signal.SIGTERM)

    return Listeners(progress=progress)


def states(run: Path) -> dict[str, Any]:
    """All files of the last state but for what the clock decides."""
    found = {file.name: torch.load(file, weights_only=True) for file in sorted((run / "last").glob("*.pt"))}
    for state in found.values():
        for record in state.get("progress", {}).get("records", ()):
            record.pop("images_per_second")
            record.pop("waiting_for_images")
    return found


def same(one: Any, two: Any) -> bool:
    """Whether two nested values are the same bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def resume(out: Path, name: str, case: dict[str, Any], *, damage: bool) -> dict[str, Any]:
    """A run in which one process is told to stop, and then the files of one state are damaged; resumed."""
    notes: list[str] = []
    whole, broken = out / f"{name}-whole", out / f"{name}-broken"
    # In the middle of the second epoch, and of what its record is about.
    training = train(whole, case, log_every=100)
    listeners, every = stop_another_at(5), 2 if damage else None
    stopped = message_of(lambda: train(broken, case, log_every=100, save_every=every, listeners=listeners))
    files = sorted(file.name for file in (broken / "last").iterdir())
    step = saved.newest_state(broken).step
    of_every(0)
    if damage and rank() == 0:
        file = broken / "last" / "state-1.pt"
        file.write_bytes(file.read_bytes()[:-100])
    of_every(0)
    again = train(broken, case, resume="yes", log_every=100, listeners=Listeners(note=notes.append))
    of_every(0)
    return {
        "stopped": stopped,
        "files": files,
        "step": step,
        "notes": notes,
        "weights": same(training.backbone.state_dict(), again.backbone.state_dict()),
        "objective": same(training.objective.state_dict(), again.objective.state_dict()),
        "states": same(states(whole), states(broken)),
        "records": len(states(whole)["state.pt"]["progress"]["records"]),
    }


def stop_early(out: Path) -> dict[str, Any]:
    """Saved at every step since the minutes are short, and stopped since nothing gets better."""
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9])
    steps: list[int] = []

    def follow(_: TorchEmbedder) -> dict[str, float]:
        return {"accuracy": next(scores)}

    real = saved.begin

    def begin(run: Path) -> Path:
        steps.append(training_steps[-1])
        return real(run)

    training_steps: list[int] = []
    saved.begin = begin
    try:
        listeners = Listeners(follow=follow, progress=lambda step, _: training_steps.append(step))
        train(out, REPLICATED, epochs=10, save_minutes=1e-9, patience=2, eval_every=1, listeners=listeners)
    finally:
        saved.begin = real
    return {"saved": steps, "left": list(scores), "best": (out / "best.safetensors").is_file()}


def fill_disk(out: Path) -> dict[str, Any]:
    """The last process cannot write its second and fourth part."""
    notes: list[str] = []
    real, calls = torch.save, 0

    def full(state: object, file: Path) -> None:
        nonlocal calls
        calls += 1
        if rank() == ranks() - 1 and calls in (2, 4):
            file.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(state, file)

    saved.torch.save = full
    try:
        message = message_of(
            lambda: train(out, SHARDED, save_every=2, listeners=Listeners(note=notes.append))  # 2, 4, 6 and 8
        )
    finally:
        saved.torch.save = real
    return {"notes": notes, "message": message, "step": saved.newest_state(out).step}


def follow_teacher() -> dict[str, Any]:
    """The rows that this process asked the teacher for, and the whole."""
    torch.manual_seed(0)
    spec, preprocessing = BackboneSpec("tinyfacenet", 16, 0.5), Preprocessing(size=32)
    backbone = build_backbone(spec.name, embedding_size=16, width=0.5, input_size=32)
    checkpoint = Checkpoint(backbone.eval(), spec, preprocessing)
    embedder = TorchEmbedder.from_checkpoint(checkpoint, name="teacher", device=torch.device("cpu"))
    asked: list[int] = []
    real = embedder.embed

    def embed(crops: Any) -> Any:
        asked.append(len(crops))
        return real(crops)

    embedder.embed = embed  # type: ignore[method-assign]
    dataset = open_dataset([Path(DATA)])
    chosen = np.arange(31)[::-1].copy()
    embedded = embed_dataset(embedder, dataset, chosen, batch_size=4, shared=True)
    return {"asked": sum(asked), "original": embedded.original, "mirrored": embedded.mirrored}


def agree_on_everything(out: Path, corrupt: Path, alone: Path, stopped: Path) -> dict[str, Any]:
    """All of it, in as few processes as may be.

    Args:
        out: where the runs go.
        corrupt: faces, one of which cannot be decoded.
        alone: a run of one process.
        stopped: a run that torchrun began with `launched_options` and a signal stopped.
    """
    saving.plot_curves = lambda records, path: None
    told: dict[str, Any] = {
        "sharded": resume(out, "sharded", SHARDED, damage=True),
        "replicated": resume(out, "replicated", REPLICATED, damage=False),
        "sampled": resume(out, "sampled", SAMPLED, damage=False),
        "early": stop_early(out / "early"),
        "full": fill_disk(out / "full"),
        "teacher": follow_teacher(),
        "of one": message_of(lambda: train(alone, REPLICATED, resume="yes")),
    }
    dataset = FolderDataset(corrupt)
    options = teacher_options(input_size=32, precision="bf16", max_corrupt=0.5)
    notes: list[str] = []
    training = prepare_teacher(dataset, RunFolder(out / "plan"), options)
    plans = [EpochPlan.make(training.sampler, options, epoch, len(dataset)) for epoch in range(2)]
    told["plans"] = [[batch.tolist() for batch in plan.batches] for plan in plans]
    records = train_teacher(dataset, RunFolder(out / "corrupt"), options, listeners=Listeners(note=notes.append))
    told["corrupt"] = {"notes": notes, "loss": records[-1]["loss"]}
    told["odd"] = message_of(lambda: train_teacher(dataset, RunFolder(out / "odd"), teacher_options(batch_size=15)))
    run = RunFolder(out / "late")
    run.resumed = rank() == 1  # as one that looks only when the first has saved already
    run.agree()
    told["late"] = run.resumed
    told["launched"] = resume_launched(out / "launched", stopped)
    return told


def resume_launched(whole: Path, stopped: Path) -> dict[str, Any]:
    """Go on with a run that torchrun began, and compare it with an unbroken one."""
    options = launched_options()
    dataset = open_dataset([Path(DATA)])
    train_teacher(dataset, RunFolder(whole), options)
    step = saved.newest_state(stopped).step
    of_every(0)
    train_teacher(dataset, RunFolder(stopped, resume="yes"), options)
    of_every(0)
    return {"step": step, "states": same(states(whole), states(stopped))}


def launched_options() -> Any:
    """Of the run that torchrun begins."""
    return teacher_options(input_size=32, width=0.25, batch_size=8, epochs=10, partial_fc=1.0, log_every=7, lr=0.01)
