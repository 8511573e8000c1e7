"""Train every head and method unbroken, and again with `kill -9` at random steps; print what the results are.

A program of its own, since it forks: that is safe only in a process that has not computed anything yet.
Its arguments: a folder of faces, a folder to work in, how many kills each configuration gets, a seed, and which
configurations (a part of "1/2" is the first half of them).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from facedistill.data.folder import FolderDataset
from facedistill.distill import METHODS
from facedistill.embedders.cache import EmbeddingCache
from facedistill.heads import HEADS
from facedistill.preprocessing import Preprocessing
from facedistill.training import saving
from facedistill.training.distill import distill
from facedistill.training.distill_options import DistillOptions
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions, train_teacher

SMALL: dict[str, Any] = {
    "batch_size": 12,
    "epochs": 3,
    "input_size": 32,
    "device": "cpu",
    "lr": 0.05,
    "width": 0.25,
    "warmup_epochs": 0.5,
    "log_every": 3,
    "save_minutes": 1000.0,
}


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every head, every method, and what else keeps a state."""
    for entry in HEADS:
        yield f"head {entry.name}", {"head": entry.name}
    yield "partial fc 1", {"head": "arcface", "partial_fc": 1.0}
    yield "partial fc 0.5", {"head": "adaface", "partial_fc": 0.5}
    yield "partial fc 0.5, adamw", {"head": "cosface", "partial_fc": 0.5, "optimizer": "adamw", "lr": 1e-3}
    yield "average, accumulated", {"head": "cosface", "ema": 0.9, "accumulate": 2, "nesterov": True}
    yield "step, augmented", {"head": "cosface", "schedule": "step", "milestones": (1, 2), "augment_occlusion": 0.5}
    for entry in METHODS:
        if not entry.factory.needs(entry.factory.options()).features:  # a cache has none
            yield f"method {entry.name}", {"method": entry.name}
    yield "three methods", {"method": "adadistill", "plus": ("triplet-distillation:0.5", "margin-softmax:0.1")}


def train(faces: Path, out: Path, changes: dict[str, Any], *, save_every: int, resume: str, kill_at: int) -> None:
    """One run, killed after `kill_at` steps (0: not at all)."""

    def progress(step: int, total: int) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    dataset, run = FolderDataset(faces), RunFolder(out, resume=resume)
    listeners = Listeners(progress=progress)
    values = {**SMALL, "save_every": save_every, **changes}
    if "method" not in changes:
        train_teacher(
            dataset, run, TeacherOptions(model="tinyfacenet", embedding_size=16, **values), listeners=listeners
        )
        return
    rows = np.random.default_rng(0).normal(size=(2, len(dataset), 16)).astype(np.float32)
    keys = [dataset.key(index) for index in range(len(dataset))]
    sums = np.zeros(len(dataset), np.uint32)
    cache = EmbeddingCache.in_memory(keys, rows[0], rows[1], "noise", "", Preprocessing(), dataset.fingerprint, sums)
    distill(dataset, cache, run, DistillOptions(student="tinyfacenet", **values), listeners=listeners)


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a process of its own; how it ended, as `os.waitpid` tells it."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            saving.plot_curves = lambda records, path: None  # type: ignore[assignment]
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def result_of(run: Path) -> str:
    """A digest of weights, of the other state, and of the records but for what the clock decides."""
    digest = hashlib.sha256()
    weights = load_file(run / "last" / "backbone.safetensors")
    for name in sorted(weights):
        digest.update(weights[name].numpy().tobytes())
    state = torch.load(run / "last" / "state.pt", weights_only=True)
    for _, value in sorted(state["objective"].items()):
        digest.update(value.numpy().tobytes())
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = {name: value for name, value in json.loads(line).items() if not name.endswith(("second", "images"))}
        digest.update(json.dumps(record).encode())
    return digest.hexdigest()


def main(faces: Path, out: Path, kills: int, seed: int, part: str) -> list[dict[str, Any]]:
    """What came of each kill."""
    number, parts = map(int, part.split("/"))
    outcomes = []
    for place, (name, changes) in enumerate(configurations()):
        if place % parts != number - 1:
            continue
        choose = random.Random(f"{seed} {name}")
        whole = out / f"{place}"
        assert in_child(partial(train, faces, whole, changes, save_every=100, resume="no", kill_at=0)) == 0, name
        expected = result_of(whole)
        steps = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        for kill in range(kills):
            run, step, every = out / f"{place}-{kill}", choose.randrange(1, steps), choose.randrange(1, 5)
            again = partial(train, faces, run, changes, save_every=every, resume="auto")
            killed = in_child(partial(again, kill_at=step))
            saved = (run / "last").is_dir()
            resumed = in_child(partial(again, kill_at=0))
            equal = resumed == 0 and result_of(run) == expected
            outcomes.append(
                {
                    "name": name,
                    "step": step,
                    "every": every,
                    "steps": steps,
                    "saved": saved,
                    "killed": killed == signal.SIGKILL,
                    "equal": equal,
                }
            )
    return outcomes


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
