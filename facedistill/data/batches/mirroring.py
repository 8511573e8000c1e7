"""Which crops of a batch are shown mirrored: known beforehand, so that the teacher's embedding can be of the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.data.decoding import Indices


def mirror_flags(indices: Indices, mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(B,) bool: as `mirrored` says of each image, and the other way round for every second copy within the batch.

    A person with too few images fills a group with copies; an image and its mirror image are then a pair of two.

    Args:
        indices: (B,) images of the batch.
        mirrored: (N,) bool, drawn for the epoch.
    """
    order = np.argsort(indices, kind="stable")
    first = np.flatnonzero(np.diff(indices[order], prepend=-1))
    copy = np.empty(len(indices), dtype=np.int64)
    copy[order] = np.arange(len(indices)) - np.repeat(first, np.diff(np.append(first, len(indices))))
    return np.asarray(mirrored[indices] ^ (copy % 2 == 1))
