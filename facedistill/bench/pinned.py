"""Keep a measurement on the same processors, so that the system does not move it about while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...] | None]:
    """Keep this thread, and those that it starts meanwhile, on as many processors as it has threads.

    Gives the numbers of the processors; None where the system does not let us choose (macOS, Windows), and where
    nothing is changed.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = different_cores(before, threads)
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        yield None
        return
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def different_cores(processors: Iterable[int], count: int) -> tuple[int, ...]:
    """The first `count` processors in order, no two of one core as long as there are cores left."""
    turns: dict[str, int] = {}
    ranked = []
    for number in sorted(processors):
        core = _core(number)
        turns[core] = turns.get(core, 0) + 1
        ranked.append((turns[core], number))
    return tuple(sorted(number for _, number in sorted(ranked)[:count]))


def _core(processor: int) -> str:
    """Which processors share its core, in the system's words; its own number where nothing tells."""
    try:
        return Path(_TOPOLOGY.format(processor)).read_text()
    except OSError:
        return str(processor)
