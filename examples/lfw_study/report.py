"""The study's tables, from the kept embeddings alone: results.md, .csv and .json, and the plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kept import TestSet, load_embeddings, load_test_set
from plot import plot_tars
from steps import Journal

from facedistill.errors import DataError
from facedistill.evaluation.people_bootstrap import PeopleBootstrap, ResampledTars
from facedistill.evaluation.tar_intervals import TarInterval, TarIntervals, tar_differences, tar_intervals
from facedistill.evaluation.verification import evaluate_embeddings
from facedistill.files import write_atomically


@dataclass(frozen=True)
class FinishedRun:
    """What is known of one training run: see `Journal`."""

    method: str
    seed: int
    command: str
    hours: float
    parameters: int | None


@dataclass(frozen=True)
class Row:
    """One method in the tables; the teacher is one without runs.

    Args:
        name: of the method.
        runs: by seed.
        accuracies: of the pair list, by seed.
        tars: with their intervals.
        differences: baseline -> how far above it the method is, over the seeds that both have.
    """

    name: str
    runs: tuple[FinishedRun, ...]
    accuracies: tuple[float, ...]
    tars: TarIntervals
    differences: dict[str, TarIntervals]

    @property
    def accuracy_std(self) -> float | None:
        """Standard deviation over the seeds (ddof 1)."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None

    @property
    def hours(self) -> float | None:
        """Of training, of a run."""
        return float(np.mean([run.hours for run in self.runs])) if self.runs else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "accuracy": float(np.mean(self.accuracies)),
            "accuracy_by_seed": list(self.accuracies),
            "tar": self.tars.to_dict()["at_far"],
            "above": {name: found.to_dict()["at_far"] for name, found in self.differences.items()},
            "runs": [vars(run) for run in self.runs],
        }


def write_report(study: Path, *, resamples: int, baselines: Sequence[str]) -> None:
    """Write the tables and the plot of all runs that are finished.

    Raises:
        DataError: there is none, or what was kept of one cannot be read.
    """
    test = load_test_set(study)
    rows = make_rows(study, test, resamples=resamples, baselines=baselines)
    result = {
        "photos": len(test.labels),
        "people": len(np.unique(test.labels)),
        "pairs": len(test.pairs),
        "folds": test.fold_scheme,
        "resamples": resamples,
        "methods": [row.to_dict() for row in rows],
        "preparation": preparation_of(study),
    }
    write_atomically(study / "results.json", (json.dumps(result, indent=2) + "\n").encode())
    write_atomically(study / "results.csv", spell_csv(rows, baselines).encode())
    write_atomically(study / "results.md", spell_markdown(study, rows, baselines, test, resamples).encode())
    plot_tars([(row.name, row.tars) for row in rows], study / "results.png")


def finished_runs(study: Path) -> dict[str, list[FinishedRun]]:
    """Method -> its finished runs by seed, the methods by name."""
    runs: dict[str, list[FinishedRun]] = {}
    for content in Journal(study).all():
        if "seed" in content:
            run = FinishedRun(**{name: content[name] for name in FinishedRun.__dataclass_fields__})
            runs.setdefault(run.method, []).append(run)
    return {method: sorted(found, key=lambda run: run.seed) for method, found in runs.items()}


def preparation_of(study: Path) -> list[str]:
    """The commands that made the crops, the pair list, the teacher and the students to start from."""
    return [content["command"] for content in Journal(study).all() if "seed" not in content]


def make_rows(study: Path, test: TestSet, *, resamples: int, baselines: Sequence[str]) -> list[Row]:
    """The teacher, the baselines, then the other methods by name."""
    finished = finished_runs(study)
    if not finished:
        raise DataError("no run of the study is finished", place=study)
    bootstrap = PeopleBootstrap(test.labels, resamples=resamples, name=str(study))
    tars: dict[str, dict[int, ResampledTars]] = {}
    accuracies: dict[str, list[float]] = {}
    for name, runs in {"teacher": [], **finished}.items():
        kept = {run.seed: f"{name}-seed-{run.seed}" for run in runs} or {0: name}
        for seed, file in kept.items():
            embeddings = load_embeddings(study, file)
            tars.setdefault(name, {})[seed] = bootstrap.of(embeddings)
            judged = evaluate_embeddings(embeddings, test.pairs, test.same, test.folds, name=name)
            accuracies.setdefault(name, []).append(judged.accuracy)
    order = ["teacher", *(name for name in baselines if name in finished)]
    order += [name for name in finished if name not in baselines]
    return [
        Row(
            name,
            tuple(finished.get(name, [])),
            tuple(accuracies[name]),
            tar_intervals(list(tars[name].values()), name=name),
            {} if name == "teacher" else differences(name, tars, baselines),
        )
        for name in order
    ]


def differences(
    name: str, tars: dict[str, dict[int, ResampledTars]], baselines: Sequence[str]
) -> dict[str, TarIntervals]:
    """Baseline -> how far above it a method is; left out where they have no seed in common."""
    found = {}
    for baseline in baselines:
        seeds = sorted(tars[name].keys() & tars.get(baseline, {}).keys())
        if baseline != name and seeds:
            own, others = ([tars[which][seed] for seed in seeds] for which in (name, baseline))
            found[baseline] = tar_differences(own, others, name=name, against=baseline)
    return found


def spell_csv(rows: Sequence[Row], baselines: Sequence[str]) -> str:
    """One line for every method and FAR; rates are fractions, and what cannot be resolved is empty."""
    text = io.StringIO(newline="")
    columns = ["method", "seeds", "accuracy", "accuracy_std_over_seeds", "hours", "far"]
    columns += ["tar", "low", "high", "std_over_seeds"]
    for baseline in baselines:
        columns += [f"above_{baseline}{end}" for end in ("", "_low", "_high", "_excludes_zero", "_one_sign")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        shared = [row.name, len(row.runs), np.mean(row.accuracies), row.accuracy_std, row.hours]
        for far, interval in row.tars.at_far.items():
            cells = [*shared, far, *_ends(interval), None if interval is None else interval.seed_std]
            for baseline in baselines:
                against = row.differences.get(baseline)
                above = None if against is None else against.at_far[far]
                verdicts = [None, None] if above is None else [above.excludes_zero, above.one_sign]
                cells += [*_ends(above), *verdicts]
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])
    return text.getvalue()


def _ends(interval: TarInterval | None) -> list[float | None]:
    return [None] * 3 if interval is None else [interval.estimate, interval.low, interval.high]


def spell_markdown(study: Path, rows: Sequence[Row], baselines: Sequence[str], test: TestSet, resamples: int) -> str:
    """The tables for people to read, and the command of every run."""
    fars = list(rows[0].tars.at_far)
    people = len(np.unique(test.labels))
    lines = [
        f"All pairs of {len(test.labels):,} photos of {people:,} people, and {len(test.pairs):,} listed pairs in "
        f"{test.fold_scheme}. TAR in %: mean ± standard deviation over the seeds, and in brackets the 95 % interval of "
        f"the mean over people ({resamples:,} resamples).",
        "",
        "| method | seeds | pair list, % | " + " | ".join(f"TAR at FAR {far}" for far in fars) + " | hours a run |",
        "|---" * (len(fars) + 4) + "|",
    ]
    for row in rows:
        cells = [row.name, str(len(row.runs)) if row.runs else "-"]
        cells.append(_spread(float(np.mean(row.accuracies)), row.accuracy_std))
        cells += [_tar(interval) for interval in row.tars.at_far.values()]
        lines.append(f"| {' | '.join([*cells, '-' if row.hours is None else f'{row.hours:.2f}'])} |")
    for baseline in baselines:
        compared = [row for row in rows if baseline in row.differences]
        if compared:
            lines += [
                "",
                f"Points of TAR above `{baseline}`, paired by seed and by resample. Bold: the interval over people "
                "excludes zero, and every seed has the same sign.",
                "",
                "| method | " + " | ".join(f"FAR {far}" for far in fars) + " |",
                "|---" * (len(fars) + 1) + "|",
            ]
            for row in compared:
                cells = [_above(interval) for interval in row.differences[baseline].at_far.values()]
                lines.append(f"| {row.name} | {' | '.join(cells)} |")
    commands = [*preparation_of(study), *(run.command for row in rows for run in row.runs)]
    lines += ["", "Made by:", "", "```console", *commands, "```", ""]
    return "\n".join(lines)


def _spread(mean: float, std: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


def _tar(interval: TarInterval | None) -> str:
    if interval is None:
        return "-"
    return f"{_spread(interval.estimate, interval.seed_std)} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _above(interval: TarInterval | None) -> str:
    if interval is None:
        return "-"
    text = f"{100 * interval.estimate:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
    return f"**{text}**" if interval.excludes_zero and interval.one_sign else text
