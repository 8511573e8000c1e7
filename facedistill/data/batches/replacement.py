"""What is shown in the place of a corrupt image: always the same other image, in whatever process it is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing

# Images of other people that are tried where nobody of the same identity can be decoded (ours).
_MOST_OTHERS = 100


@dataclass(frozen=True)
class Decoded:
    """One decoded image.

    Attributes:
        image: (S, S, 3) uint8 RGB, None where neither the image nor any replacement could be decoded.
        index: which image it is.
        corrupt: index -> cause of those that were tried before it.
    """

    image: npt.NDArray[np.uint8] | None
    index: int
    corrupt: dict[int, str]


def decode_or_replace(dataset: FaceDataset, index: int, preprocessing: Preprocessing) -> Decoded:
    """Image `index` in the size of the model, or the first of its `replacements` that can be decoded."""
    corrupt: dict[int, str] = {}
    for candidate in replacements(dataset.labels, index):
        try:
            image = preprocessing.resize(dataset.image(candidate)[np.newaxis])[0]
        except DataError as error:
            corrupt[candidate] = error.cause
            continue
        return Decoded(image, candidate, corrupt)
    return Decoded(None, index, corrupt)


def replacements(labels: npt.NDArray[np.int64], index: int) -> Iterator[int]:
    """`index` itself, the other images of its identity from it on and round, then the images that follow it."""
    yield index
    own = np.flatnonzero(labels == labels[index])
    place = int(np.searchsorted(own, index))
    yield from np.roll(own, -place)[1:].tolist()
    others = 0
    for offset in range(1, len(labels)):
        candidate = (index + offset) % len(labels)
        if labels[candidate] != labels[index]:
            yield candidate
            others += 1
            if others == _MOST_OTHERS:
                return
