"""Decode the images of coming batches in threads while the device works on the present one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.data.sampling import Indices
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing

# Batches that are decoded ahead; more only take memory.
PREFETCH = 3


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

    def collect(indices: Indices, futures: list[Future[npt.NDArray[np.uint8] | None]]) -> ImageBatch | None:
        images = [future.result() for future in futures]
        readable = [image for image in images if image is not None]
        if not readable:
            return None
        kept = np.array([image is not None for image in images])
        return ImageBatch(np.stack(readable), indices[kept])

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        waiting: deque[tuple[Indices, list[Future[npt.NDArray[np.uint8] | None]]]] = deque()
        for indices in index_batches:
            waiting.append((indices, [pool.submit(load, int(index)) for index in indices]))
            if len(waiting) > PREFETCH:
                batch = collect(*waiting.popleft())
                if batch is not None:
                    yield batch
        while waiting:
            batch = collect(*waiting.popleft())
            if batch is not None:
                yield batch
