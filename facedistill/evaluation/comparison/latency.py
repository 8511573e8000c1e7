"""How long models take for one face on one thread of the CPU, measured in turn so that drift hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load import find_checkpoint, load_embedder
from facedistill.embedders.onnx_embedder import OnnxEmbedder

WARM_UP = 5
"""Calls of each model that are not counted (ours)."""

MOST_CALLS, LEAST_CALLS = 200, 9
"""Calls of each model that are counted (ours): as many as fit into the time, between these."""

SECONDS = 5.0
"""Time for the counted calls of each model (ours)."""


@dataclass(frozen=True)
class Latency:
    """Seconds from a uint8 crop to its embedding, preprocessing included, one crop a call.

    Args:
        median: over the calls.
        low: 10 % of the calls are faster.
        high: 10 % are slower.
        calls: how many were counted.
    """

    median: float
    low: float
    high: float
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def open_for_timing(
    path: Path, *, color: str | None = None, mean: float | None = None, std: float | None = None
) -> Embedder:
    """The model at `path` on the CPU, set to one thread where that is set by model; see `load_embedder`.

    One thread, so that torch and onnxruntime are alike and the figure does not hang on how many cores are free.
    """
    file = find_checkpoint(path)
    if file.suffix == ".onnx":
        return OnnxEmbedder(file, device="cpu", color=color, mean=mean, std=std, threads=1)
    return load_embedder(path, device="cpu", color=color, mean=mean, std=std)


def measure_latencies(
    embedders: Sequence[Embedder],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time single crops of noise, one call of each model after the other: A B C A B C ...

    Args:
        embedders: from `open_for_timing`.
        seconds: for the counted calls of each; the slowest model decides how often all are called.
        clock: seconds, from any start.
    """
    rng = np.random.default_rng(0)
    crops = [
        rng.integers(0, 256, (1, e.preprocessing.size, e.preprocessing.size, 3), dtype=np.uint8) for e in embedders
    ]
    taken: list[list[float]] = [[] for _ in embedders]
    with _one_torch_thread():
        for call in range(WARM_UP + MOST_CALLS):
            for embedder, crop, times in zip(embedders, crops, taken, strict=True):
                start = clock()
                embedder.embed(crop)
                times.append(clock() - start)
            counted = call + 1 - WARM_UP
            if counted >= LEAST_CALLS and max(sum(times[WARM_UP:]) for times in taken) >= seconds:
                break
    return [_summary(times[WARM_UP:]) for times in taken]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _summary(times: list[float]) -> Latency:
    low, median, high = np.quantile(times, [0.1, 0.5, 0.9])
    return Latency(float(median), float(low), float(high), len(times))
