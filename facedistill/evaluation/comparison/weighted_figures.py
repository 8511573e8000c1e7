"""The figures of a pair list in which each pair counts some number of times, as a bootstrap needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from facedistill.evaluation.metrics import THRESHOLDS, Roc, accepted_impostors, far_label, impostors_needed

FloatArray = npt.NDArray[np.float64]


class WeightedFigures:
    """Accuracy over the folds, EER, AUC and TAR of one model; the distances are sorted once.

    With weights of 1 they are the figures of `metrics`; with others those of a list that repeats each pair so often.

    Args:
        distances: (P,) squared L2 distances.
        same: (P,) whether the pair is genuine.
        folds: (P,) the fold of each pair, two different ones at least.
        fars: where TAR is read.

    Attributes:
        names: "accuracy", "eer", "auc" and the label of each FAR, in the order of the figures.
    """

    def __init__(
        self,
        distances: FloatArray,
        same: npt.NDArray[np.bool_],
        folds: npt.NDArray[np.int64],
        fars: Sequence[float],
    ) -> None:
        self.names = ("accuracy", "eer", "auc", *(far_label(far) for far in fars))
        self._same = same
        # None where the FAR stands for less than one pair.
        self._fars = [far if np.count_nonzero(~same) >= impostors_needed(far) else None for far in fars]
        values, rank = np.unique(distances, return_inverse=True)
        self._distances, self._values = values, len(values)
        self._genuine_rank, self._impostor_rank = rank[same], rank[~same]
        names, self._fold = np.unique(folds, return_inverse=True)
        # The first threshold that accepts the pair; the last cell is for none.
        accepting = np.searchsorted(THRESHOLDS, distances, side="right")
        self._shape = (len(names), len(THRESHOLDS) + 1)
        self._cell = self._fold * self._shape[1] + accepting

    def of(self, weights: FloatArray) -> FloatArray:
        """(K,) float64 figures where pair i counts weights[i] times, a whole number; NaN for a FAR too low.

        Genuine and impostor pairs of a weight above 0 have to be among them. A fold without any is left out of the
        mean accuracy.
        """
        genuine = np.bincount(self._genuine_rank, weights[self._same], self._values).cumsum()
        impostor = np.bincount(self._impostor_rank, weights[~self._same], self._values).cumsum()
        # From nothing accepted to all.
        tar = np.concatenate([[0.0], genuine / genuine[-1]])
        far = np.concatenate([[0.0], impostor / impostor[-1]])
        tars = []
        for wanted in self._fars:
            if wanted is None:
                tars.append(np.nan)
                continue
            refused = np.searchsorted(impostor, accepted_impostors(wanted, int(impostor[-1])), side="right")
            tars.append(tar[refused])
        curve = Roc(far, tar)
        return np.array([self._accuracy(weights), curve.equal_error_rate, curve.area, *tars])

    def thresholds(self, weights: FloatArray) -> FloatArray:
        """(F,) float64 threshold of each FAR, a squared L2 distance; NaN for a FAR too low."""
        impostor = np.bincount(self._impostor_rank, weights[~self._same], self._values).cumsum()
        total = int(impostor[-1])
        refused = [
            None if far is None else int(np.searchsorted(impostor, accepted_impostors(far, total), side="right"))
            for far in self._fars
        ]
        return np.array([np.nan if place is None else self._distances[place] for place in refused])

    def _accuracy(self, weights: FloatArray) -> float:
        signed = np.bincount(self._cell, np.where(self._same, weights, -weights), self._shape[0] * self._shape[1])
        refused = np.bincount(self._fold[~self._same], weights[~self._same], self._shape[0])
        # Of each fold, what each threshold decides rightly; whole numbers, so that the first of equal ones is picked.
        right = signed.reshape(self._shape).cumsum(axis=1)[:, :-1] + refused[:, np.newaxis]
        best = np.argmax(right.sum(axis=0) - right, axis=1)
        sizes = np.bincount(self._fold, weights, self._shape[0])
        held = sizes > 0
        return float(np.mean(right[np.arange(len(best)), best][held] / sizes[held]))
