"""Decode the images of coming batches in threads while the caller works on the present one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

# Batches that are decoded ahead; more only take memory.
BATCHES_AHEAD = 3

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Indices = npt.NDArray[np.int64]


def decode_ahead(
    index_batches: Iterable[Indices], decode: Callable[[int], Item], *, workers: int
) -> Iterator[tuple[Indices, list[Item]]]:
    """Each batch of indices with what `decode` gives for them, in order; an error of `decode` is raised at its batch.

    Args:
        index_batches: the indices of each batch, (B,) int64.
        decode: called once for each index, from several threads.
        workers: threads, at least 1.
    """
    batches: deque[Indices] = deque()

    def pieces() -> Iterator[list[Indices]]:
        for indices in index_batches:
            batches.append(indices)
            # A task of one small crop would cost as much in passing it on as in decoding it.
            yield np.array_split(indices, max(1, min(4 * workers, len(indices))))

    def decode_all(indices: Indices) -> list[Item]:
        return [decode(index) for index in indices.tolist()]

    for found in run_ahead(pieces(), decode_all, workers=workers):
        yield batches.popleft(), [item for items in found for item in items]


def run_ahead(batches: Iterable[list[Piece]], work: Callable[[Piece], Item], *, workers: int) -> Iterator[list[Item]]:
    """What `work` gives for the pieces of each batch, in order; an error is raised at its batch.

    Args:
        batches: each in pieces, which are worked on side by side.
        work: called once for each piece, from several threads.
        workers: threads, at least 1.
    """
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="decode")
    waiting: deque[list[Future[Item]]] = deque()
    try:
        for pieces in batches:
            waiting.append([pool.submit(work, piece) for piece in pieces])
            if len(waiting) > BATCHES_AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        # What nobody waits for any more is not begun, so that a stop is a stop.
        pool.shutdown(wait=True, cancel_futures=True)
