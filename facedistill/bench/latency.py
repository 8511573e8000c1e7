"""How long models take for a batch of faces, measured in turns so that drift hits all alike."""

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

MOST_CALLS, LEAST_CALLS = 200, 12
"""Calls of each model that are counted (ours): as many as fit into the time, between these."""

TURN = 5
"""Counted calls of a model before the next has its turn (ours)."""

LEAD = 0.002
"""Seconds of uncounted calls, one at least, at the start of a turn (ours): after a larger model, a small one took three
times as long in its first call, and its usual time from about the third."""

SECONDS = 5.0
"""Time for the counted calls of each model (ours)."""


@dataclass(frozen=True)
class Latency:
    """Seconds from uint8 crops to their embeddings, preprocessing included.

    Args:
        median: over the calls.
        low: 10 % of the calls are faster.
        high: 10 % are slower.
        slowest: 1 % are slower.
        calls: how many were counted.
        batch: crops a call.
        threads: of the CPU.
    """

    median: float
    low: float
    high: float
    slowest: float
    calls: int
    batch: int = 1
    threads: int = 1

    @property
    def images_per_second(self) -> float:
        """Of calls that take the median."""
        return self.batch / self.median

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"images_per_second": self.images_per_second}


def open_for_timing(
    path: Path,
    *,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    threads: int = 1,
) -> Embedder:
    """The model at `path` on the CPU, set to so many threads where that is set by model; see `load_embedder`.

    One thread by default, so that torch and onnxruntime are alike and the figure does not hang on how many cores are
    free.
    """
    file = find_checkpoint(path)
    if file.suffix == ".onnx":
        return OnnxEmbedder(file, device="cpu", color=color, mean=mean, std=std, threads=threads)
    return load_embedder(path, device="cpu", color=color, mean=mean, std=std)


def measure_latencies(
    embedders: Sequence[Embedder],
    *,
    batch: int = 1,
    threads: int = 1,
    seconds: float = SECONDS,
    most: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time batches of noise in turns of a few calls: A A A A B B B B A A A A ...

    Where there are several models, the first calls of a turn are not counted: they find the caches full of another
    model's weights, and that model's threads still awake, so that the figure would hang on who else is measured.

    Args:
        embedders: from `open_for_timing`.
        batch: crops a call.
        threads: of torch; those of onnxruntime were set when the models were opened.
        seconds: for the counted calls of each; the slowest model decides how often all are called.
        most: calls of each that are counted, rounded up to whole turns; 200 where it is None.
        clock: seconds, from any start.
    """
    rng = np.random.default_rng(0)
    sizes = [embedder.preprocessing.size for embedder in embedders]
    crops = [rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8) for size in sizes]
    taken: list[list[float]] = [[] for _ in embedders]
    with _torch_threads(threads):
        for embedder, images in zip(embedders, crops, strict=True):
            for _ in range(WARM_UP):
                embedder.embed(images)
        while len(taken[0]) < (MOST_CALLS if most is None else most):
            for embedder, images, times in zip(embedders, crops, taken, strict=True):
                begun = clock()
                while len(embedders) > 1:
                    embedder.embed(images)
                    if clock() - begun >= LEAD:
                        break
                for _ in range(TURN):
                    start = clock()
                    embedder.embed(images)
                    times.append(clock() - start)
            if len(taken[0]) >= LEAST_CALLS and max(map(sum, taken)) >= seconds:
                break
    return [_summary(times, batch, threads) for times in taken]


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _summary(times: list[float], batch: int, threads: int) -> Latency:
    low, median, high, slowest = np.quantile(times, [0.1, 0.5, 0.9, 0.99]).tolist()
    return Latency(median, low, high, slowest, len(times), batch, threads)
