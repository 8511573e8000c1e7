"""The kinds of value that pass between the steps of drawing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""


def limit(value: float, low: float, high: float) -> float:
    """The value, or the bound that it oversteps."""
    # np.clip on a scalar takes twenty times as long, and a face needs a hundred of these.
    return min(max(value, low), high)
