"""How far the figures of a pair list, and the difference of two models there, would move with other pairs or people.

Where the people of the images are known, whole people are drawn with replacement: a genuine pair counts as often as
its person is drawn, and an impostor pair by the product of how often its two people are (`people_bootstrap` says why).
Where they are not, pairs are drawn, the genuine ones and the impostor ones apart. Every threshold is read anew in each
resample. A pair that is drawn twice stays in its fold, so that no fold's threshold is picked on a pair that it holds.

A model without a single error has none in any resample, so that its interval is a point: the pairs are too few to say
more. Two models are compared within each resample, since the same pairs are hard for both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.benchmark import check_pairs, made_folds
from facedistill.evaluation.comparison.weighted_figures import FloatArray, WeightedFigures
from facedistill.evaluation.metrics import FARS
from facedistill.evaluation.people_bootstrap import RESAMPLES
from facedistill.evaluation.tar_intervals import CONFIDENCE

Over = Literal["people", "pairs"]


@dataclass(frozen=True)
class Interval:
    """A figure, or the difference of two, with the interval that holds a share of the resamples; fractions.

    Args:
        estimate: on the pairs as they are.
        low: lower end.
        high: upper end.
    """

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside: of a difference, that other pairs or people would hardly turn it round."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"estimate": self.estimate, "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class ResampledFigures:
    """The figures of one model on a pair list as it is, and on every resample of it.

    Args:
        names: K figures: "accuracy", "eer", "auc" and the labels of the FARs at which TAR is read.
        estimate: (K,) float64, NaN for a FAR that the impostor pairs cannot resolve.
        resampled: (R, K) float64.
        over: what was drawn.
        drawn: tells these resamples from others; only figures on the same can be compared.
    """

    names: tuple[str, ...]
    estimate: FloatArray
    resampled: FloatArray
    over: Over
    drawn: str


def resample_figures(
    distances: FloatArray,
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64] | None = None,
    *,
    people: npt.NDArray[np.int64] | None = None,
    fars: Sequence[float] = FARS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    name: str = "pairs",
) -> ResampledFigures:
    """The figures of one model on a pair list and on resamples of it, the same ones for every model.

    Args:
        distances: (P,) squared L2 distances.
        same: (P,) whether the pair is genuine.
        folds: (P,) the fold of each pair; None for stratified ones.
        people: (P, 2) the person of each image, any integers; None where they are not known.
        fars: where TAR is read, each between 0 and 1.
        resamples: how often people or pairs are drawn, twice at least.
        seed: decides which.
        name: of the pair list, for messages.

    Raises:
        DataError: a distance is not finite, a class is absent, or the people contradict the flags.
        ValueError: a FAR or the number of resamples makes no sense.
    """
    if not all(0 < far < 1 for far in fars):
        raise ValueError(f"a FAR is between 0 and 1, and these are {tuple(fars)}")
    if resamples < 2:
        raise ValueError(f"{resamples} resamples make no interval")
    if not np.isfinite(distances).all():
        raise DataError("a distance is not finite", place=name)
    if folds is None:
        folds = made_folds(same, place=name)[0]
    check_pairs(np.zeros((len(distances), 2), dtype=np.int64), same, folds, images=1, place=name)
    if people is not None and not np.array_equal(people[:, 0] == people[:, 1], same):
        raise DataError("a genuine pair is of two people, or an impostor pair of one", place=name)
    figures = WeightedFigures(distances, same, folds, fars)
    weights = drawn_weights(same, people, seed)
    resampled = np.stack([figures.of(next(weights)) for _ in range(resamples)])
    drawn = hashlib.sha256(same.tobytes() + folds.tobytes() + (b"" if people is None else people.tobytes()))
    drawn.update(repr((figures.names, resamples, seed)).encode())
    over: Over = "pairs" if people is None else "people"
    return ResampledFigures(figures.names, figures.of(np.ones(len(same))), resampled, over, drawn.hexdigest())


def drawn_weights(same: npt.NDArray[np.bool_], people: npt.NDArray[np.int64] | None, seed: int) -> Iterator[FloatArray]:
    """Without end, (P,) float64 how often each pair counts in a resample.

    Args:
        same: (P,) whether the pair is genuine.
        people: (P, 2) the person of each image, who then are drawn; None to draw pairs.
        seed: decides which.
    """
    rng = np.random.default_rng(seed)
    return _pair_weights(same, rng) if people is None else _people_weights(same, people, rng)


def _pair_weights(same: npt.NDArray[np.bool_], rng: np.random.Generator) -> Iterator[FloatArray]:
    """Without end, (P,) how often each pair is drawn: as many of each class as there are."""
    classes = [np.flatnonzero(same), np.flatnonzero(~same)]
    while True:
        drawn = [members[rng.integers(len(members), size=len(members))] for members in classes]
        yield np.bincount(np.concatenate(drawn), minlength=len(same)).astype(np.float64)


def _people_weights(
    same: npt.NDArray[np.bool_], people: npt.NDArray[np.int64], rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Without end, (P,) how often each pair counts; a draw that leaves no pair of a class is made again."""
    names, ranks = np.unique(people, return_inverse=True)
    first, second = ranks.reshape(-1, 2).T
    while True:
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(np.float64)
        weights = np.where(same, times[first], times[first] * times[second])
        if weights[same].any() and weights[~same].any():
            yield weights


def figure_intervals(figures: ResampledFigures, *, confidence: float = CONFIDENCE) -> dict[str, Interval | None]:
    """Name of each figure -> its interval of percentiles; None for a FAR that cannot be resolved.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    return _intervals(figures.names, figures.estimate, figures.resampled, confidence)


def figure_differences(
    model: ResampledFigures, baseline: ResampledFigures, *, confidence: float = CONFIDENCE
) -> dict[str, Interval | None]:
    """Name of each figure -> by how much the model's is above the baseline's, both taken on the same resamples.

    Raises:
        ValueError: they are not of the same pairs and resamples, or the confidence is not between 0 and 1.
    """
    if model.drawn != baseline.drawn:
        raise ValueError("the models were judged on different pairs or resamples, and cannot be compared")
    return _intervals(model.names, model.estimate - baseline.estimate, model.resampled - baseline.resampled, confidence)


def _intervals(
    names: Sequence[str], estimate: FloatArray, resampled: FloatArray, confidence: float
) -> dict[str, Interval | None]:
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is {confidence}, and has to be between 0 and 1")
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return {
        name: None if np.isnan(value) else Interval(float(value), float(low[column]), float(high[column]))
        for column, (name, value) in enumerate(zip(names, estimate, strict=True))
    }
