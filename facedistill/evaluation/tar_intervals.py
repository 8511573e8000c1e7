"""Intervals of a method's TAR, and of the difference of two methods, from the same resamples of the people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facedistill.evaluation.metrics import far_label
from facedistill.evaluation.people_bootstrap import FloatArray, ResampledTars

CONFIDENCE = 0.95


@dataclass(frozen=True)
class TarInterval:
    """One figure of a method at one FAR; rates and their differences are fractions.

    Args:
        estimate: the mean over the training seeds, on the people as they are.
        low: lower end of the interval over people of that mean.
        high: its upper end.
        by_seed: the figure of each seed.
    """

    estimate: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def seed_std(self) -> float | None:
        """Standard deviation over the seeds (ddof 1), None of a single one."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval: of a difference, that other people would hardly turn it round."""
        return self.low > 0 or self.high < 0

    @property
    def one_sign(self) -> bool:
        """Whether every seed has it above zero, or every seed below."""
        return min(self.by_seed) > 0 or max(self.by_seed) < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "by_seed": list(self.by_seed),
            "seed_std": self.seed_std,
        }


@dataclass(frozen=True)
class TarIntervals:
    """A method's TAR at every FAR, or by how much it is above another's.

    Two things vary, and each is told apart from the other: the people judged on, by the interval, and the training run,
    by the spread over its seeds. A difference that is to be believed has an interval without zero and one sign in all
    seeds.

    Args:
        name: of the method, or of both.
        confidence: share of the resamples that an interval holds.
        at_far: FAR label -> the interval; None where the impostor pairs are too few for that FAR.
        against: the other method, where these are differences.
    """

    name: str
    confidence: float
    at_far: dict[str, TarInterval | None]
    against: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {"name": self.name, "confidence": self.confidence}
        if self.against is not None:
            values["against"] = self.against
        values["at_far"] = {label: self._spelled(interval) for label, interval in self.at_far.items()}
        return values

    def ends(self) -> dict[str, list[float] | None]:
        """FAR label -> lower and upper end of its interval, None where there is none."""
        return {label: None if found is None else [found.low, found.high] for label, found in self.at_far.items()}

    def _spelled(self, interval: TarInterval | None) -> dict[str, Any] | None:
        if interval is None or self.against is None:
            return None if interval is None else interval.to_dict()
        return interval.to_dict() | {"excludes_zero": interval.excludes_zero, "one_sign": interval.one_sign}

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for each FAR; TAR in %, differences in points."""
        sign = "" if self.against is None else "+"
        columns = ["FAR", "TAR" if self.against is None else f"TAR above {self.against}"]
        columns += [f"{100 * self.confidence:g} % over people", "std over seeds"]
        columns += [] if self.against is None else ["without 0", "one sign in all seeds"]
        rows = []
        for label, interval in self.at_far.items():
            if interval is None:
                rows.append([label, *["-"] * (len(columns) - 1)])
                continue
            ends = f"{100 * interval.low:{sign}.2f} to {100 * interval.high:{sign}.2f}"
            spread = "-" if interval.seed_std is None else f"{100 * interval.seed_std:.2f}"
            verdicts = ["yes" if verdict else "no" for verdict in (interval.excludes_zero, interval.one_sign)]
            verdicts = [] if self.against is None else verdicts
            rows.append([label, f"{100 * interval.estimate:{sign}.2f}", ends, spread, *verdicts])
        return columns, rows


def tar_intervals(
    seeds: Sequence[ResampledTars], *, name: str = "model", confidence: float = CONFIDENCE
) -> TarIntervals:
    """TAR of a method, a run a seed, with its interval over people: percentiles of the resampled mean over seeds.

    Raises:
        ValueError: there is no run, they are not of the same resamples, or the confidence is not between 0 and 1.
    """
    _check([*seeds])
    return _intervals(
        seeds[0].fars, [run.estimate for run in seeds], [run.resampled for run in seeds], name, confidence, None
    )


def tar_differences(
    seeds: Sequence[ResampledTars],
    baseline: Sequence[ResampledTars],
    *,
    name: str = "model",
    against: str = "baseline",
    confidence: float = CONFIDENCE,
) -> TarIntervals:
    """By how much a method is above another: paired by seed, and over people by taking both on the same resample.

    Args:
        seeds: a run of the method for each seed.
        baseline: runs of the other, of the same seeds in the same order.
        name: of the method.
        against: of the other.
        confidence: share of the resamples that the interval holds.

    Raises:
        ValueError: the numbers of runs differ, and as `tar_intervals`.
    """
    if len(seeds) != len(baseline):
        raise ValueError(f"{len(seeds)} runs cannot be paired with {len(baseline)}")
    _check([*seeds, *baseline])
    pairs = list(zip(seeds, baseline, strict=True))
    return _intervals(
        seeds[0].fars,
        [run.estimate - other.estimate for run, other in pairs],
        [run.resampled - other.resampled for run, other in pairs],
        name,
        confidence,
        against,
    )


def _check(runs: list[ResampledTars]) -> None:
    if not runs:
        raise ValueError("there is no run")
    if len({run.people for run in runs}) > 1:
        raise ValueError("the runs were judged on different people or resamples, and cannot be taken together")


def _intervals(
    fars: Sequence[float],
    estimates: Sequence[FloatArray],
    resampled: Sequence[FloatArray],
    name: str,
    confidence: float,
    against: str | None,
) -> TarIntervals:
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is {confidence}, and has to be between 0 and 1")
    mean = np.mean(resampled, axis=0)
    low, high = np.quantile(mean, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    at_far: dict[str, TarInterval | None] = {}
    for column, far in enumerate(fars):
        by_seed = tuple(float(estimate[column]) for estimate in estimates)
        at_far[far_label(far)] = (
            None
            if np.isnan(by_seed[0])
            else TarInterval(float(np.mean(by_seed)), float(low[column]), float(high[column]), by_seed)
        )
    return TarIntervals(name, confidence, at_far, against)
