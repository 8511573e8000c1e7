"""Find run folders, and set them side by side."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facedistill.counted import counted
from facedistill.errors import DataError, UsageError, unknown_name
from facedistill.shown_name import shown_name
from facedistill.training.curves import is_number
from facedistill.training.run_summary import CONFIG, METRICS, RunSummary, read_run

DEEPEST = 4
"""How many levels below a given folder run folders are looked for (ours)."""
SMALLER_IS_BETTER = ("loss", "waiting_for_images", "gpu_memory", "gradient_norm", "positive_distance")
"""Figures that are sorted with the smallest first."""
MOST_OPTION_COLUMNS = 8
"""Options that are shown beside one another; of more, where the runs are fewer, each has a row (ours)."""
FIGURE_COLUMNS = ("loss", "best accuracy", "images/s")


@dataclass(frozen=True)
class RunsTable:
    """Runs side by side.

    Args:
        runs: in the order in which they are shown.
        notes: what could not be read.
        compared: whether `table` shows the options in which they differ, rather than what each run is.
        now: the time that "ago" counts from, in seconds since 1970.
    """

    runs: tuple[RunSummary, ...]
    notes: tuple[str, ...] = ()
    compared: bool = False
    now: float = field(default_factory=time.time)

    @property
    def differences(self) -> list[str]:
        """The options in which the runs differ, in the order in which they are written."""
        names = dict.fromkeys(name for run in self.runs for name in run.options)
        return [name for name in names if len({repr(run.options.get(name)) for run in self.runs}) > 1]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and one row a run; accuracies in %, each with the step it was reached at.

        Compared, where the runs are few and differ in much, it is turned: one column a run.
        """
        if not self.compared:
            columns = ["run", "training", "backbone", "people / images", "done", "status", *FIGURE_COLUMNS]
            return columns, [[*what_it_is(run), status_cell(run, self.now), *figure_cells(run)] for run in self.runs]
        names = self.differences
        columns = ["run", *(name.replace("_", "-") for name in names), "done", *FIGURE_COLUMNS]
        rows = [
            [
                shown_name(run.name),
                *(option_cell(run.options, name) for name in names),
                done_cell(run),
                *figure_cells(run),
            ]
            for run in self.runs
        ]
        if len(names) > max(MOST_OPTION_COLUMNS, len(rows)):
            first, *others = (list(line) for line in zip(columns, *rows, strict=True))
            return first, others
        return columns, rows

    def plot(self, path: Path, figures: Sequence[str] = ("loss",)) -> None:
        """Draw figures of all runs over the steps to an image file.

        Raises:
            UsageError: no run has such a figure, or `path` has the suffix of no image format.
        """
        from facedistill.training.runs_plot import plot_runs

        plot_runs(self.runs, path, figures)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runs": [run.to_dict(self.now) for run in self.runs],
            "differences": self.differences,
            "notes": list(self.notes),
        }


def what_it_is(run: RunSummary) -> list[str]:
    """Name, training, backbone, data, and how much is done."""
    data = "-" if run.identities is None or run.images is None else f"{run.identities:,} / {run.images:,}"
    return [shown_name(run.name), f"{run.command} {run.trained_for}", run.backbone, data, done_cell(run)]


def figure_cells(run: RunSummary) -> list[str]:
    """Last loss, best accuracy and speed."""
    loss, speed, best = run.last("loss"), run.last("images_per_second"), run.best
    accuracy = "-"
    if best is not None:
        place = f"step {best['step']:,}" if is_number(best.get("step")) else f"epoch {best.get('epoch', '-')}"
        accuracy = f"{100 * best['accuracy']:.2f} ({place})"
    return ["-" if loss is None else f"{loss:.4g}", accuracy, "-" if speed is None else f"{speed:,.0f}"]


def status_cell(run: RunSummary, now: float) -> str:
    """The status, and of a finished run when that was."""
    status = run.status(now)
    return f"{status}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(run.written))}" if run.finished else status


def done_cell(run: RunSummary) -> str:
    """How much of what was planned is done."""
    if run.epoch is None:
        return "-"
    text = f"epoch {run.epoch}" + ("" if run.planned_epochs is None else f"/{run.planned_epochs}")
    if run.step is not None:
        text += f", step {run.step:,}"
    return text


def option_cell(options: dict[str, Any], name: str) -> str:
    """An option's value; a dash where the run has none."""
    value = options.get(name)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else shown_name(str(value))


def find_runs(
    folders: Sequence[Path], *, sort: str | None = None, compared: bool = False, now: float | None = None
) -> RunsTable:
    """The runs in and below some folders.

    Args:
        folders: run folders, or folders that hold some, at most `DEEPEST` levels below.
        sort: a figure, the best run first (its best accuracy, otherwise its last value), or "name" or "written"; None
            for the order of the names. Runs without the figure come last.
        compared: see `RunsTable`.
        now: likewise.

    Raises:
        UsageError: a folder does not exist, or no run has the figure to sort by.
        DataError: there is no run.
    """
    runs: list[RunSummary] = []
    notes: list[str] = []
    for root in folders:
        if not root.is_dir():
            raise UsageError("there is no such folder", place=root)
    found: dict[Path, Path] = {}
    for root in folders:
        for folder in run_folders(root):
            found.setdefault(folder.resolve(), folder)
    for folder in found.values():
        name = str(folder) if folder.name else folder.resolve().name
        try:
            run = read_run(folder, name=name)
        except DataError as error:
            notes.append(str(error))
            continue
        if run.damaged:
            lines = counted(run.damaged, "line of metrics.jsonl is", "lines of metrics.jsonl are")
            notes.append(f"{shown_name(name)}: {lines} damaged and left out")
        runs.append(run)
    if not runs:
        places = ", ".join(map(str, folders))
        raise DataError(
            notes[0] if notes else f"there is no run in or below {places} (a folder with {CONFIG} and {METRICS})",
            next_step=None if notes else "Give the folder that was --out, or one above it",
        )
    table = RunsTable(tuple(sort_runs(runs, sort)), tuple(notes), compared)
    return table if now is None else RunsTable(table.runs, table.notes, compared, now)


def run_folders(root: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """`root` if it is a run folder, otherwise those below it; hidden folders are passed over."""
    if (root / CONFIG).is_file() and (root / METRICS).is_file():
        yield root
    elif depth:
        try:
            below = sorted(
                entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
            )
        except OSError:
            return
        for name in below:
            yield from run_folders(root / name, depth - 1)


def sort_runs(runs: Sequence[RunSummary], sort: str | None) -> list[RunSummary]:
    """The runs in the order asked for; see `find_runs`."""
    if sort is None or sort == "name":
        return sorted(runs, key=lambda run: run.name)
    if sort == "written":
        return sorted(runs, key=lambda run: -run.written)
    sort = sort.replace("-", "_")
    figures = dict.fromkeys(
        name for run in runs for record in run.records for name in record if is_number(record[name])
    )
    if sort not in figures:
        raise unknown_name("figure of these runs", sort, ["name", "written", *figures])

    def place(run: RunSummary) -> tuple[bool, float]:
        value = run.best["accuracy"] if sort == "accuracy" and run.best else run.last(sort)
        if value is None:
            return True, 0.0
        return False, value if sort in SMALLER_IS_BETTER else -value

    return sorted(runs, key=place)
