"""Every pair of a labelled data set, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError


def count_pairs(labels: npt.NDArray[np.int64], name: str) -> tuple[int, int]:
    """How many genuine and impostor pairs there are; DataError where a kind is absent."""
    sizes = np.unique(labels, return_counts=True)[1]
    genuine = int(np.sum(sizes * (sizes - 1) // 2))
    impostor = len(labels) * (len(labels) - 1) // 2 - genuine
    if not genuine or not impostor:
        raise DataError(
            f"its {len(labels)} images of {len(sizes)} people make {genuine} genuine and {impostor} impostor pairs, "
            "and both kinds are needed",
            place=name,
        )
    return genuine, impostor


class PairBlock(NamedTuple):
    """Images `start`, `start + 1`, ... (the rows) beside `start` and all that follow it (the columns).

    Args:
        start: the image of the first row and of the first column.
        cosines: (R, C) float32.
        genuine: (R, C) bool, pairs of one person.
        impostor: (R, C) bool, pairs of two people; a pair that an earlier cell holds is in neither.
    """

    start: int
    cosines: npt.NDArray[np.float32]
    genuine: npt.NDArray[np.bool_]
    impostor: npt.NDArray[np.bool_]


def pair_blocks(
    embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, cells: int
) -> Iterator[PairBlock]:
    """Every pair of different images once, in blocks of at most `cells` cells or one row; (N, D) unit embeddings."""
    start = 0
    while start < len(labels) - 1:
        # The rows of a block are compared with all that follow, so blocks grow as fewer do.
        stop = min(len(labels), start + max(1, cells // (len(labels) - start)))
        cosines = embeddings[start:stop] @ embeddings[start:].T
        later = np.arange(start, len(labels)) > np.arange(start, stop)[:, np.newaxis]
        same = labels[start:stop, np.newaxis] == labels[start:]
        yield PairBlock(start, cosines, later & same, later & ~same)
        start = stop
