"""What is known of the runs that a study has finished, and the commands that made them in an order that runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import Journal

TEACHER_JUDGED = "teacher-on-test"
"""The step that keeps the teacher's embeddings of the test photos; no command does it."""
PREPARATION = ("crops", "faces-teacher", "faces-train", "faces-test", "pairs", "teacher", "teacher-cache")
"""The steps before the first seed's, as they follow one another."""


@dataclass(frozen=True)
class FinishedRun:
    """What is known of one training run: see `Journal`."""

    method: str
    seed: int
    command: str
    hours: float
    parameters: int | None

    @property
    def loss(self) -> str:
        """The distillation method behind the recipe, such as triplet."""
        return (_value(self.command, "--method") or "triplet-distillation").partition(":")[0]

    @property
    def start(self) -> str | None:
        """The recipe, or the undistilled student's run, whose student it starts from; None of random weights."""
        folder = _value(self.command, "--init")
        return None if folder is None else Path(folder).parent.name

    @property
    def schedule(self) -> tuple[str | None, ...]:
        """Epochs and learning rate, as they were asked for; None is the program's own."""
        return tuple(_value(self.command, option) for option in ("--epochs", "--lr", "--warmup-epochs"))


def _value(command: str, option: str) -> str | None:
    words = shlex.split(command)
    return words[words.index(option) + 1] if option in words[:-1] else None


def finished_runs(study: Path) -> dict[str, list[FinishedRun]]:
    """Recipe -> its finished runs by seed, the recipes by name."""
    runs: dict[str, list[FinishedRun]] = {}
    for content in Journal(study).all().values():
        if "seed" in content:
            run = FinishedRun(**{name: content[name] for name in FinishedRun.__dataclass_fields__})
            runs.setdefault(run.method, []).append(run)
    return {method: sorted(found, key=lambda run: run.seed) for method, found in runs.items()}


def preparation_of(study: Path) -> dict[str, str]:
    """Step -> the command, of those that made the crops, the pair list, the teacher and the students to start from."""
    known = Journal(study).all()
    made = {name: str(content["command"]) for name, content in known.items() if "seed" not in content}
    made.pop(TEACHER_JUDGED, None)
    return {name: made[name] for name in sorted(made, key=_place)}


def _place(step: str) -> tuple[int, int]:
    """(seed, place) of a step of the preparation: a student to start from is the first of its seed."""
    start = re.fullmatch(r"start-seed-(\d+)", step)
    if start:
        return int(start[1]), 0
    return -1, (PREPARATION.index(step) if step in PREPARATION else 0)


def commands_in_order(study: Path, finished: Mapping[str, Sequence[FinishedRun]]) -> list[str]:
    """All commands as they can be run again: the preparation, then seed by seed, each run after the one it starts from.

    Paths below the current folder are written relative to it.
    """
    placed = [((*_place(step), ""), command) for step, command in preparation_of(study).items()]
    for method, runs in finished.items():
        depth = 1 + len(starts_of(method, finished))
        placed += [((run.seed, depth, method), run.command) for run in runs]
    return [_shortened(command) for _, command in sorted(placed)]


def starts_of(method: str, finished: Mapping[str, Sequence[FinishedRun]]) -> list[str]:
    """The recipes that a recipe's student came through: the one it starts from, the one that starts from, and so on."""
    before: list[str] = []
    while (start := finished[method][0].start) is not None and start in finished and start not in before:
        before.append(start)
        method = start
    return before


def _shortened(command: str) -> str:
    here = Path.cwd()
    return shlex.join(
        str(Path(word).relative_to(here)) if Path(word).is_relative_to(here) else word for word in shlex.split(command)
    )
