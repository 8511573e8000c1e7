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
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="decode")
    waiting: deque[tuple[Indices, list[Future[Item]]]] = deque()
    try:
        for indices in index_batches:
            waiting.append((indices, [pool.submit(decode, int(index)) for index in indices]))
            if len(waiting) > BATCHES_AHEAD:
                ready, futures = waiting.popleft()
                yield ready, [future.result() for future in futures]
        for ready, futures in waiting:
            yield ready, [future.result() for future in futures]
    finally:
        # What nobody waits for any more is not begun, so that a stop is a stop.
        pool.shutdown(wait=True, cancel_futures=True)
