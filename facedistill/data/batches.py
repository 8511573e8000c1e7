"""Batches of decoded crops for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.data.decoding import Indices, decode_ahead
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing


class ImageBatch(NamedTuple):
    """Decoded crops, resized to the model's size.

    Attributes:
        images: (B, S, S, 3) uint8 RGB.
        indices: (B,) int64, which images of the data set they are.
    """

    images: npt.NDArray[np.uint8]
    indices: Indices


def load_batches(
    dataset: FaceDataset,
    index_batches: Sequence[Indices],
    preprocessing: Preprocessing,
    *,
    workers: int = 2,
    on_corrupt: Callable[[str, DataError], None] | None = None,
) -> Iterator[ImageBatch]:
    """The given batches in their order, decoded by `workers` threads.

    Args:
        dataset: where the images come from.
        index_batches: the indices of each batch.
        preprocessing: decides the size that the crops are resized to.
        workers: threads, at least 1.
        on_corrupt: told the key and the error of an image that cannot be decoded, which is then left out of its
            batch; None raises the error.
    """

    def load(index: int) -> npt.NDArray[np.uint8] | None:
        try:
            resized = preprocessing.resize(dataset.image(index)[np.newaxis])
        except DataError as error:
            if on_corrupt is None:
                raise
            on_corrupt(dataset.key(index), error)
            return None
        return np.asarray(resized[0])

    for indices, images in decode_ahead(index_batches, load, workers=workers):
        readable = [image for image in images if image is not None]
        if readable:
            kept = np.array([image is not None for image in images])
            yield ImageBatch(np.stack(readable), indices[kept])
