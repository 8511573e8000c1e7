"""What a model decides about each pair of a benchmark, with nothing picked on the pair itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import fold_accuracies


@dataclass(frozen=True, eq=False)
class Decisions:
    """One decision a pair.

    Args:
        thresholds: (P,) float64 squared L2 distance below which the pair is accepted.
        accepted: (P,) bool, taken for one person.
        right: (P,) bool, rightly so.
    """

    thresholds: npt.NDArray[np.float64]
    accepted: npt.NDArray[np.bool_]
    right: npt.NDArray[np.bool_]


def decide(judged: JudgedPairs) -> Decisions:
    """Accept or refuse every pair under the threshold of the other folds, as the k-fold accuracy does."""
    chosen = fold_accuracies(judged.distances, judged.same, judged.folds).thresholds
    thresholds = np.array(chosen)[np.searchsorted(np.unique(judged.folds), judged.folds)]
    accepted = judged.distances < thresholds
    return Decisions(thresholds, accepted, accepted == judged.same)
