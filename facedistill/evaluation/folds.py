"""How pairs are cut into folds for the 10-fold protocol."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

FOLDS = 10  # LFW's own protocol, kept by every pair set since.


def contiguous_folds(pairs: int, count: int = FOLDS) -> npt.NDArray[np.int64]:
    """(pairs,) int64 fold of each pair: equal runs in the order of the list, as insightface cuts a `.bin` file.

    Where the pairs do not divide evenly, the first folds hold one more.
    """
    sizes = [len(part) for part in np.array_split(np.arange(pairs), count)]
    return np.repeat(np.arange(count, dtype=np.int64), sizes)


def stratified_folds(same: npt.NDArray[np.bool_], count: int = FOLDS) -> npt.NDArray[np.int64]:
    """(P,) int64 fold of each pair: each class is cut into equal runs of its own, in the order of the list.

    Runs rather than every tenth pair, because lists are sorted by person and a person's pairs then share a fold.
    There are fewer folds where a class has fewer pairs than `count`.

    Raises:
        DataError: a class has fewer than two pairs, so that nothing is left to pick a threshold on.
    """
    genuine, impostor = int(np.count_nonzero(same)), int(np.count_nonzero(~same))
    count = min(count, genuine, impostor)
    if count < 2:
        raise DataError(
            f"{genuine} genuine and {impostor} impostor pairs cannot be cut into folds",
            next_step="Two pairs of each kind are the least, 10 of each the usual minimum",
        )
    folds = np.empty(len(same), dtype=np.int64)
    for members in (same, ~same):
        folds[members] = contiguous_folds(int(np.count_nonzero(members)), count)
    return folds


def hold_both_classes(same: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]) -> bool:
    """Whether every fold has a genuine and an impostor pair."""
    return all(0 < np.count_nonzero(same[folds == fold]) < np.count_nonzero(folds == fold) for fold in np.unique(folds))
