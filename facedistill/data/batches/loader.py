"""Batches of decoded crops for training, read ahead in threads or in processes of their own."""

from __future__ import annotations

import signal
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from facedistill.data.batches.replacement import decode_or_replace
from facedistill.data.dataset import FaceDataset
from facedistill.data.decoding import Indices, run_ahead
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing

# Batches that each process has ready beside the one that it works on.
_PREFETCH = 2


class ImageBatch(NamedTuple):
    """Decoded crops, resized to the model's size.

    Attributes:
        images: (B, S, S, 3) uint8 RGB.
        indices: (B,) int64, which images of the data set they are; replacements stand in the place of corrupt ones.
        corrupt: index -> cause of the images that could not be decoded.
    """

    images: npt.NDArray[np.uint8]
    indices: Indices
    corrupt: dict[int, str]


class BatchLoader:
    """Decodes batches ahead of whoever uses them; a context manager, since its processes have to be ended.

    The batches are the same however they are decoded. Threads of this process cost nothing to start, and suit training
    on the CPU. Processes leave the interpreter to the training loop, which a fast GPU needs.

    Args:
        dataset: where the images come from; with processes it is pickled to each.
        preprocessing: decides the size that the crops are resized to.
        processes: that decode, 0 for threads.
        threads: that decode where there are no processes, at least 1.
    """

    def __init__(
        self, dataset: FaceDataset, preprocessing: Preprocessing, *, processes: int = 0, threads: int = 2
    ) -> None:
        self._decoder = _BatchDecoder(dataset, preprocessing)
        self._threads = threads
        self._plan = _Plan()
        self._loader: DataLoader[_Loaded] | None = None
        if processes:
            with _undisturbed():
                self._loader = DataLoader(
                    self._decoder,
                    sampler=self._plan,
                    batch_size=None,
                    num_workers=processes,
                    prefetch_factor=_PREFETCH,
                    persistent_workers=True,
                    collate_fn=_as_it_is,
                    worker_init_fn=_begin_worker,
                    # A fork of a process with threads can hang, and this one has those of OpenCV and of torch.
                    multiprocessing_context="spawn",
                )

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loader = None  # its processes end with it

    def batches(self, index_batches: Sequence[Indices]) -> Iterator[ImageBatch]:
        """The given batches in their order.

        Raises:
            DataError: an image could not be decoded, and none that could stand in its place.
        """
        if self._loader is None:
            loaded = self._decoder.in_threads(index_batches, self._threads)
        else:
            self._plan.index_batches = index_batches
            with _undisturbed():  # the processes begin here
                loaded = iter(self._loader)
        for images, indices, corrupt in loaded:
            if not len(indices):
                index, cause = next(iter(corrupt.items()))
                raise DataError(
                    f"{len(corrupt)} images in turn cannot be decoded, so that none can replace the first ({cause})",
                    place=self._decoder.dataset.key(index),
                    next_step="Check the data set with facedistill inspect",
                )
            yield ImageBatch(np.asarray(images), indices, corrupt)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Begin processes that an interruption is no concern of, and without torch's word on how many are reasonable.

    They inherit the blocked signal, so that Ctrl-C reaches this process alone, which ends them.
    """
    blocked: set[int] = set()
    if hasattr(signal, "pthread_sigmask"):
        # The first process would start this helper of multiprocessing's, and that unblocks the signal.
        resource_tracker.ensure_running()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


_Loaded = tuple[torch.Tensor | npt.NDArray[np.uint8], Indices, dict[int, str]]
# No index at all where an image has no replacement.
_NONE: Indices = np.zeros(0, dtype=np.int64)


class _Plan(Sampler[Indices]):
    """The index batches of the present epoch, so that processes outlive it."""

    def __init__(self) -> None:
        self.index_batches: Sequence[Indices] = ()

    def __iter__(self) -> Iterator[Indices]:
        return iter(self.index_batches)

    def __len__(self) -> int:
        return len(self.index_batches)


class _BatchDecoder(Dataset[_Loaded]):
    """Decodes whole batches; this is what a process gets."""

    def __init__(self, dataset: FaceDataset, preprocessing: Preprocessing) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing

    def __getitem__(self, indices: Indices) -> _Loaded:
        images = self._empty(len(indices))
        # A tensor goes to the other process through shared memory, an array would be pickled.
        return torch.from_numpy(images), *_gather([self._decode_into(images, indices)])

    def in_threads(self, index_batches: Iterable[Indices], threads: int) -> Iterator[_Loaded]:
        """The batches in their order; each is cut into pieces, which several threads decode into one array."""
        arrays: deque[npt.NDArray[np.uint8]] = deque()

        def pieces() -> Iterator[list[tuple[npt.NDArray[np.uint8], Indices]]]:
            for indices in index_batches:
                arrays.append(self._empty(len(indices)))
                count = max(1, min(2 * threads, len(indices)))
                yield list(zip(np.array_split(arrays[-1], count), np.array_split(indices, count), strict=True))

        for found in run_ahead(pieces(), lambda piece: self._decode_into(*piece), workers=threads):
            yield arrays.popleft(), *_gather(found)

    def _empty(self, count: int) -> npt.NDArray[np.uint8]:
        return np.empty((count, self.preprocessing.size, self.preprocessing.size, 3), dtype=np.uint8)

    def _decode_into(self, images: npt.NDArray[np.uint8], indices: Indices) -> tuple[Indices, dict[int, str]]:
        """Fill (B, S, S, 3) `images`; which they are, none where one has no replacement, and the causes."""
        shown = np.empty_like(indices)
        corrupt: dict[int, str] = {}
        for place, index in enumerate(indices.tolist()):
            decoded = decode_or_replace(self.dataset, index, self.preprocessing)
            if decoded.image is None:
                return _NONE, decoded.corrupt
            if decoded.corrupt:
                corrupt |= decoded.corrupt
            images[place], shown[place] = decoded.image, decoded.index
        return shown, corrupt


def _gather(pieces: list[tuple[Indices, dict[int, str]]]) -> tuple[Indices, dict[int, str]]:
    """The pieces of a batch as one; of one that failed, its causes alone."""
    for shown, causes in pieces:
        if not len(shown):
            return shown, causes
    return np.concatenate([shown for shown, _ in pieces]), {
        index: cause for _, causes in pieces for index, cause in causes.items()
    }


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_number: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, _end_at_the_second)


def _end_at_the_second(number: int, _frame: FrameType | None) -> None:
    """A scheduler sends the signal to every process of a job, and the training still needs its images to end well."""
    signal.signal(number, signal.SIG_DFL)
