"""Verification figures of distances between pairs, as pure functions.

A pair is accepted as the same person where its squared L2 distance is below the threshold. Rates are fractions.
FAR is the share of impostor pairs that are accepted, TAR the share of genuine pairs that are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# The grid of insightface's verification script: 0, 0.01, ..., 3.99 on the squared distance of unit embeddings.
THRESHOLDS: FloatArray = np.arange(400) / 100.0

# Rates at which the TAR of a pair list is read.
FARS = (1e-1, 1e-2, 1e-3, 1e-4)

_PAIRS_AT_ONCE = 1 << 14  # Bounds the memory of the gathered embeddings.


def far_label(far: float) -> str:
    """1e-3 as "1e-3", whatever the platform's own spelling is."""
    mantissa, exponent = f"{far:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def squared_distances(embeddings: npt.NDArray[np.floating], pairs: npt.NDArray[np.int64]) -> FloatArray:
    """(P,) float64 squared L2 distance of each pair, 0..4: (N, D) unit embeddings, (P, 2) indices into them."""
    distances = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = pairs[start : start + _PAIRS_AT_ONCE]
        difference = embeddings[part[:, 0]].astype(np.float64) - embeddings[part[:, 1]]
        distances[start : start + len(part)] = np.einsum("pd,pd->p", difference, difference)
    return np.clip(distances, 0.0, 4.0)


def cosine_of(squared_distance: float) -> float:
    """The cosine of two unit embeddings at a squared L2 distance: |a - b|^2 = 2 - 2 cos."""
    return 1.0 - squared_distance / 2.0


def spell_threshold(squared_distance: float) -> dict[str, float]:
    """A threshold as `squared_l2` (accept below it) and as `cosine` (accept above it)."""
    return {"squared_l2": squared_distance, "cosine": cosine_of(squared_distance)}


@dataclass(frozen=True)
class FoldAccuracies:
    """What the held-out folds give.

    Args:
        accuracies: accuracy of each fold under the threshold of the others.
        thresholds: that threshold, a squared L2 distance, for each fold.
    """

    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean accuracy over the folds: the figure that is quoted."""
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        """The standard deviation over the folds, of the population (ddof 0), as it is quoted."""
        return float(np.std(self.accuracies))


def fold_accuracies(
    distances: FloatArray,
    same: npt.NDArray[np.bool_],
    folds: npt.NDArray[np.int64],
    thresholds: FloatArray = THRESHOLDS,
) -> FoldAccuracies:
    """The k-fold accuracy of LFW's protocol.

    For every fold, the first threshold of best accuracy on all other folds is applied to it.

    Args:
        distances: (P,) squared L2 distances.
        same: (P,) whether the pair is genuine.
        folds: (P,) fold of each pair, any integers, two different ones at least.
        thresholds: ascending candidates.
    """
    names, fold_of = np.unique(folds, return_inverse=True)
    if len(names) < 2:
        raise ValueError("a threshold is picked on the other folds, so there have to be two at least")
    correct = _correct_by_fold(distances, same, fold_of, len(names), thresholds)
    # Whole counts, so that ties between thresholds are ties and the first one wins.
    best = np.argmax(correct.sum(axis=0) - correct, axis=1)
    sizes = np.bincount(fold_of)
    accuracies = tuple(float(correct[row, column] / sizes[row]) for row, column in enumerate(best))
    return FoldAccuracies(accuracies, tuple(float(thresholds[column]) for column in best))


def _correct_by_fold(
    distances: FloatArray,
    same: npt.NDArray[np.bool_],
    fold_of: npt.NDArray[np.int64],
    folds: int,
    thresholds: FloatArray,
) -> npt.NDArray[np.int64]:
    """(F, T) number of pairs of each fold that each threshold decides rightly; `fold_of` (P,) counts from 0."""
    # The first threshold that accepts the pair; the last cell is for none.
    cells = fold_of * (len(thresholds) + 1) + np.searchsorted(thresholds, distances, side="right")
    size = folds * (len(thresholds) + 1)
    genuine, impostor = (np.bincount(cells[kind], minlength=size).reshape(folds, -1) for kind in (same, ~same))
    accepted = np.cumsum(genuine - impostor, axis=1)[:, :-1]
    return np.asarray(accepted + impostor.sum(axis=1, keepdims=True), dtype=np.int64)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what it does on the pairs that it was read from.

    Args:
        threshold: squared L2 distance; a pair below it is accepted.
        tar: share of the genuine pairs that are accepted.
        far: share of the impostor pairs that are accepted.
    """

    threshold: float
    tar: float
    far: float


def impostors_needed(far: float) -> int:
    """How many impostor pairs a FAR needs before it stands for one accepted pair."""
    return math.ceil(1.0 / far - 1e-9)


def accepted_impostors(far: float, impostors: int) -> int:
    """How many of `impostors` pairs may be accepted at `far` (the small term keeps 0.29 of 100 at 29)."""
    return math.floor(far * impostors * (1.0 + 1e-12))


def tar_at_far(distances: FloatArray, same: npt.NDArray[np.bool_], far: float) -> OperatingPoint | None:
    """The operating point of one FAR alone: see `SortedDistances.operating_point`."""
    return SortedDistances.of(distances, same).operating_point(far)


class ReadAtFars:
    """A result that holds an operating point for each FAR, or None where the impostor pairs are too few for it."""

    operating_points: dict[str, OperatingPoint | None]

    @property
    def tar_at_far(self) -> dict[str, float | None]:
        """FAR label -> TAR, None where it cannot be resolved."""
        return {label: None if point is None else point.tar for label, point in self.operating_points.items()}

    @property
    def unresolvable(self) -> dict[str, str]:
        """FAR label -> what it would take, for each FAR that the impostor pairs cannot resolve."""
        labels = [label for label, point in self.operating_points.items() if point is None]
        return {label: f"needs {impostors_needed(float(label)):,} impostor pairs" for label in labels}


def spelled_thresholds(points: Mapping[str, OperatingPoint | None]) -> dict[str, dict[str, float]]:
    """FAR label -> its threshold as `spell_threshold` gives it, for each FAR that is resolved."""
    return {label: spell_threshold(point.threshold) for label, point in points.items() if point is not None}


@dataclass(frozen=True, eq=False)
class Roc:
    """The whole trade-off, one point for each distinct distance and one that accepts all.

    Args:
        far: (K,) ascending, from 0 to 1.
        tar: (K,) ascending, from 0 to 1.
    """

    far: FloatArray
    tar: FloatArray

    @property
    def area(self) -> float:
        """The area under the curve: the chance that a genuine pair is nearer than an impostor pair, ties half."""
        return float(np.sum(np.diff(self.far) * (self.tar[1:] + self.tar[:-1]) / 2.0))

    @property
    def equal_error_rate(self) -> float:
        """The rate at which FAR equals the share of refused genuine pairs, on straight lines between the points."""
        gap = self.far - (1.0 - self.tar)
        above = int(np.argmax(gap >= 0.0))
        share = -gap[above - 1] / (gap[above] - gap[above - 1])
        return float(self.far[above - 1] + share * (self.far[above] - self.far[above - 1]))


def roc(distances: FloatArray, same: npt.NDArray[np.bool_]) -> Roc:
    """The exact ROC of (P,) squared distances and (P,) flags: see `SortedDistances.roc`."""
    return SortedDistances.of(distances, same).roc()


@dataclass(frozen=True, eq=False)
class SortedDistances:
    """The distances of a pair list, sorted once, from which every figure is read.

    Args:
        genuine: (G,) squared L2 distances of the genuine pairs, ascending.
        impostor: (I,) those of the impostor pairs, ascending.
    """

    genuine: FloatArray
    impostor: FloatArray

    @classmethod
    def of(cls, distances: FloatArray, same: npt.NDArray[np.bool_]) -> SortedDistances:
        """Of (P,) distances and (P,) flags, in any order."""
        return cls(np.sort(distances[same]), np.sort(distances[~same]))

    def correct(self, thresholds: FloatArray) -> npt.NDArray[np.int64]:
        """(T,) number of pairs that each of the (T,) thresholds decides rightly."""
        accepted = np.searchsorted(self.genuine, thresholds, side="left")
        rejected = len(self.impostor) - np.searchsorted(self.impostor, thresholds, side="left")
        return np.asarray(accepted + rejected, dtype=np.int64)

    def best_threshold(self, thresholds: FloatArray = THRESHOLDS) -> tuple[float, float]:
        """The first threshold of best accuracy on all pairs, and that accuracy (optimistic: nothing is held out)."""
        correct = self.correct(thresholds)
        best = int(np.argmax(correct))
        return float(thresholds[best]), float(correct[best] / (len(self.genuine) + len(self.impostor)))

    def operating_point(self, far: float) -> OperatingPoint | None:
        """TAR at the largest threshold whose FAR is at most `far` (0 < far < 1).

        No grid and no interpolation: the threshold is the distance of the first impostor pair that must be refused.
        Gives None where there are fewer than 1 / far impostor pairs, since no threshold then stands for that FAR.
        """
        if len(self.impostor) < impostors_needed(far):
            return None
        threshold = float(self.impostor[accepted_impostors(far, len(self.impostor))])
        tar, measured = (
            float(np.searchsorted(kind, threshold, side="left") / len(kind)) for kind in (self.genuine, self.impostor)
        )
        return OperatingPoint(threshold, tar, measured)

    def roc(self) -> Roc:
        """The exact ROC; equal distances make one point."""
        # Two runs that are sorted already are merged in linear time by a stable sort.
        merged = np.sort(np.concatenate([self.genuine, self.impostor]), kind="stable")
        thresholds = np.append(merged[np.append(True, np.diff(merged) > 0)], np.inf)
        return Roc(
            far=np.searchsorted(self.impostor, thresholds, side="left") / len(self.impostor),
            tar=np.searchsorted(self.genuine, thresholds, side="left") / len(self.genuine),
        )
