"""The study's tables, from the kept embeddings alone: results.md, .csv and .json, and the plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from finished import FinishedRun, commands_in_order, finished_runs, preparation_of
from kept import TEST_SET, TestSet, load_embeddings, load_test_set
from plot import plot_tars
from recipes import START

from facedistill.errors import UsageError
from facedistill.evaluation.people_bootstrap import PeopleBootstrap, ResampledTars
from facedistill.evaluation.tar_intervals import TarInterval, TarIntervals, tar_differences, tar_intervals
from facedistill.evaluation.verification import evaluate_embeddings
from facedistill.files import write_atomically

FIXED_MARGIN = "triplet"
"""The method that others from the same start are compared with."""
RANKED_BY = "1e-4"
"""The FAR by whose TAR the methods are put in order, or the lowest above it that the test photos resolve."""


@dataclass(frozen=True)
class Row:
    """One method in the tables; the teacher is one without runs.

    Args:
        name: of the method.
        runs: by seed.
        accuracies: of the pair list, by seed.
        tars: with their intervals.
        differences: another method -> how far above it this one is, over the seeds that both have.
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
        UsageError: there is none yet.
        DataError: what was kept of one cannot be read.
    """
    if not (study / TEST_SET).exists():
        raise UsageError(
            "nothing of the study is finished yet" if study.is_dir() else "there is no study here",
            place=study,
            next_step="Run it without --report first",
        )
    test = load_test_set(study)
    rows = make_rows(study, test, resamples=resamples, baselines=baselines)
    result = {
        "photos": len(test.labels),
        "people": len(np.unique(test.labels)),
        "pairs": len(test.pairs),
        "folds": test.fold_scheme,
        "resamples": resamples,
        "methods": [row.to_dict() for row in rows],
        "preparation": list(preparation_of(study).values()),
    }
    write_atomically(study / "results.json", (json.dumps(result, indent=2) + "\n").encode())
    write_atomically(study / "results.csv", spell_csv(rows, compared_with(rows, baselines)).encode())
    write_atomically(
        study / "results.md", spell_markdown(study, rows, compared_with(rows, baselines), test, resamples).encode()
    )
    plot_tars([(row.name, row.tars) for row in rows], study / "results.png")


def make_rows(study: Path, test: TestSet, *, resamples: int, baselines: Sequence[str]) -> list[Row]:
    """The teacher, the baselines, then the other methods, the best first."""
    finished = finished_runs(study)
    if not finished:
        raise UsageError("no run of the study is finished", place=study, next_step="Run it without --report first")
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
    found = {name: tar_intervals(list(seeds.values()), name=name) for name, seeds in tars.items()}
    first = ["teacher", *(name for name in baselines if name in finished)]
    rest = [name for name in finished if name not in first]
    far = ranking_far(found["teacher"])
    rest.sort(key=lambda name: -_rank(found[name], far))
    return [
        Row(
            name,
            tuple(finished.get(name, [])),
            tuple(accuracies[name]),
            found[name],
            {} if name == "teacher" else differences(name, tars, [*baselines, *relatives(name, finished)]),
        )
        for name in [*first, *rest]
    ]


def ranking_far(tars: TarIntervals) -> str | None:
    """The FAR whose TAR puts the methods in order; None where the test photos resolve none."""
    resolved = [far for far, interval in tars.at_far.items() if interval is not None]
    return next((far for far in sorted(resolved, key=float) if float(far) >= float(RANKED_BY)), None)


def _rank(tars: TarIntervals, far: str | None) -> float:
    interval = None if far is None else tars.at_far[far]
    return 0.0 if interval is None else interval.estimate


def relatives(name: str, finished: Mapping[str, Sequence[FinishedRun]]) -> list[str]:
    """What a method that starts from another's student is compared with beside the baselines.

    It is the other, whose student it goes on from, and the fixed margin from the same student with the same schedule.
    """
    own = finished[name][0]
    if own.start in (None, START):
        return []
    alike = [
        other
        for other, (run, *_) in finished.items()
        if (run.start, run.schedule) == (own.start, own.schedule) and other != name
    ]
    return [str(own.start), *(other for other in alike if finished[other][0].loss == FIXED_MARGIN)]


def differences(name: str, tars: dict[str, dict[int, ResampledTars]], others: Sequence[str]) -> dict[str, TarIntervals]:
    """Another method -> how far above it a method is; left out where they have no seed in common."""
    found = {}
    for other in others:
        seeds = sorted(tars[name].keys() & tars.get(other, {}).keys())
        if other != name and seeds:
            own, theirs = ([tars[which][seed] for seed in seeds] for which in (name, other))
            found[other] = tar_differences(own, theirs, name=name, against=other)
    return found


def compared_with(rows: Sequence[Row], baselines: Sequence[str]) -> list[str]:
    """The methods that others are compared with: the baselines, then those that only some are."""
    return list(dict.fromkeys([*baselines, *(name for row in rows for name in row.differences)]))


def spell_csv(rows: Sequence[Row], others: Sequence[str]) -> str:
    """One line for every method and FAR; rates are fractions, and what cannot be resolved is empty."""
    text = io.StringIO(newline="")
    columns = ["method", "seeds", "accuracy", "accuracy_std_over_seeds", "hours", "far"]
    columns += ["tar", "low", "high", "std_over_seeds"]
    for other in others:
        columns += [f"above_{other}{end}" for end in ("", "_low", "_high", "_excludes_zero", "_one_sign")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        shared = [row.name, len(row.runs), np.mean(row.accuracies), row.accuracy_std, row.hours]
        for far, interval in row.tars.at_far.items():
            cells = [*shared, far, *_ends(interval), None if interval is None else interval.seed_std]
            for other in others:
                against = row.differences.get(other)
                above = None if against is None else against.at_far[far]
                verdicts = [None, None] if above is None else [above.excludes_zero, above.one_sign]
                cells += [*_ends(above), *verdicts]
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])
    return text.getvalue()


def _ends(interval: TarInterval | None) -> list[float | None]:
    return [None] * 3 if interval is None else [interval.estimate, interval.low, interval.high]


def spell_markdown(study: Path, rows: Sequence[Row], others: Sequence[str], test: TestSet, resamples: int) -> str:
    """The tables for people to read, and the commands that made the runs."""
    fars, far = list(rows[0].tars.at_far), ranking_far(rows[0].tars)
    people = len(np.unique(test.labels))
    lines = [
        f"All pairs of {len(test.labels):,} photos of {people:,} people, and {len(test.pairs):,} listed pairs in "
        f"{test.fold_scheme}. TAR in %: mean ± standard deviation over the seeds, and in brackets the 95 % interval of "
        f"the mean over people ({resamples:,} resamples). The teacher and what all are compared with stand first, the "
        f"others by {'name' if far is None else f'TAR at FAR {far}'}.",
        "",
        "| method | seeds | pair list, % | " + " | ".join(f"TAR at FAR {far}" for far in fars) + " | hours a run |",
        "|---" * (len(fars) + 4) + "|",
    ]
    for row in rows:
        cells = [row.name, str(len(row.runs)) if row.runs else "-"]
        cells.append(_spread(float(np.mean(row.accuracies)), row.accuracy_std))
        cells += [_tar(interval) for interval in row.tars.at_far.values()]
        lines.append(f"| {' | '.join([*cells, '-' if row.hours is None else f'{row.hours:.2f}'])} |")
    for other in others:
        compared = [row for row in rows if other in row.differences]
        if compared:
            lines += [
                "",
                f"Points of TAR above `{other}`, paired by seed and by resample. Bold: the interval over people "
                "excludes zero, and every seed has the same sign.",
                "",
                "| method | " + " | ".join(f"FAR {far}" for far in fars) + " |",
                "|---" * (len(fars) + 1) + "|",
            ]
            for row in compared:
                cells = [_above(interval) for interval in row.differences[other].at_far.values()]
                lines.append(f"| {row.name} | {' | '.join(cells)} |")
    commands = commands_in_order(study, {row.name: row.runs for row in rows if row.runs})
    lines += ["", "The runs were made by:", "", "```console", *commands, "```", ""]
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
