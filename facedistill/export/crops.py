"""Crops that a network is calibrated on, and others that its result is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.counted import counted
from facedistill.data.dataset import FaceDataset
from facedistill.errors import DataError
from facedistill.export.precision.calibration import choose_calibration

HELD_OUT = 64
"""Crops that nothing is calibrated on, to judge the result by."""

FEWEST = 16
"""Crops below which the ranges of activations are not worth measuring."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of a data set.

    Args:
        name: of the data set.
        calibration: (N, H, W, 3) uint8 RGB, to measure the ranges of activations on.
        held_out: (M, H, W, 3) uint8 RGB, other images.
    """

    name: str
    calibration: npt.NDArray[np.uint8]
    held_out: npt.NDArray[np.uint8]


def read_crops(
    dataset: FaceDataset, name: str, *, count: int, seed: int = 0, note: Callable[[str], None] | None = None
) -> Crops:
    """Some crops of a data set, of as many people as there are.

    Args:
        dataset: aligned crops, all of one size.
        name: of the data set, for messages.
        count: how many to calibrate on; fewer where the data set has not that many, which `note` is told.
        seed: decides which.
        note: receives one line about what was not as asked for.

    Raises:
        DataError: too few images, images of several sizes, or some that are no squares or cannot be decoded.
    """
    held_out = min(HELD_OUT, len(dataset) // 4)
    if len(dataset) - held_out < FEWEST:
        raise DataError(
            f"{counted(len(dataset), 'crop is', 'crops are')} too few to calibrate on",
            place=name,
            next_step="Give some hundred crops of many people, like those that the model will see",
        )
    taken = min(count, len(dataset) - held_out)
    if taken < count and note:
        note(f"{name}: {taken} crops to calibrate on, and {held_out} to judge by, are all there are")
    chosen = choose_calibration(dataset.labels, taken + held_out, seed)
    images = [dataset.image(int(index)) for index in chosen]
    shapes = sorted({image.shape[:2] for image in images})
    if len(shapes) > 1 or shapes[0][0] != shapes[0][1]:
        sizes = ", ".join(f"{width} x {height}" for height, width in shapes[:3]) + (" ..." if len(shapes) > 3 else "")
        raise DataError(
            f"the images are of {sizes} pixels; aligned crops are squares of one size",
            place=name,
            next_step="Align the photos first, with facedistill align",
        )
    stacked = np.stack(images)
    order = np.random.default_rng(seed).permutation(len(stacked))
    return Crops(name, stacked[order[held_out:]], stacked[order[:held_out]])


def noise(size: int, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, size, size, 3) uint8 random pixels; a constant image would hide axes that are mixed up."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
