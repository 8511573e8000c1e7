"""The pairs behind a verification result, for whoever wants to look at them one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Every pair of a benchmark with its distance.

    Args:
        pairs: (P, 2) int64 indices into the benchmark's images.
        same: (P,) bool, whether the pair is genuine.
        folds: (P,) int64, the fold of each pair.
        distances: (P,) float64 squared L2 distance, 0..4.
        images: what `pairs` points into; None where there are no images, only embeddings.
    """

    pairs: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    images: ImageSource | None = None
