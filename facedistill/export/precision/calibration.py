"""Which crops a network is calibrated on, and how onnxruntime reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader

from facedistill.errors import UsageError

BATCH = 8


def choose_calibration(labels: npt.NDArray[np.int64], count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Choose images so that the people share them as evenly as their numbers of images allow.

    Every person gives one image before any gives a second, and so on; where the last round is not for all, chance
    decides for whom.

    Args:
        labels: (N,) int64, the person of each image.
        count: how many images to choose.
        seed: decides which.

    Returns:
        (count,) int64 indices, all different.

    Raises:
        UsageError: fewer than 1 or more than N are asked for.
    """
    if not 1 <= count <= len(labels):
        raise UsageError(f"{count} images to calibrate on cannot be chosen of {len(labels)}")
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    # The how-manieth of its person each shuffled image is.
    people = labels[shuffled]
    by_person = np.argsort(people, kind="stable")
    ordered = people[by_person]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    turns = np.empty(len(labels), dtype=np.int64)
    turns[by_person] = np.arange(len(labels)) - np.repeat(starts, np.diff(np.r_[starts, len(labels)]))
    return np.asarray(shuffled[np.argsort(turns, kind="stable")[:count]], dtype=np.int64)


class CalibrationBatches(CalibrationDataReader):  # type: ignore[misc]
    """Batches of a network's input, which onnxruntime's calibration can read as often as it is rewound.

    Args:
        images: (N, ...) network inputs, cut into batches of `batch`; or batches as they are, of which a list can be
            read again and a generator cannot.
        name: of the network's input.
        batch: images at a time.
    """

    def __init__(
        self, images: npt.NDArray[Any] | Iterable[npt.NDArray[Any]], name: str = "input", *, batch: int = BATCH
    ) -> None:
        self._images = images
        self._name = name
        self._batch = batch
        self.rewind()

    def rewind(self) -> None:
        """Begin again with the first batch."""
        self._left = self._cut()

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """The next batch by the input's name, or None after the last."""
        batch = next(self._left, None)
        return None if batch is None else {self._name: batch}

    def __len__(self) -> int:
        """Batches from the beginning; TypeError where they come of a generator."""
        if isinstance(self._images, np.ndarray):
            return -(-len(self._images) // self._batch)
        return len(self._images)  # type: ignore[arg-type]

    def _cut(self) -> Iterator[npt.NDArray[Any]]:
        if not isinstance(self._images, np.ndarray):
            return iter(self._images)
        images = self._images
        return (images[start : start + self._batch] for start in range(0, len(images), self._batch))
