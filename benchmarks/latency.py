"""Whether `facedistill bench` tells the time that onnxruntime takes, and how much time it takes besides.

`agreement`: rounds in which the median of `measure_latencies` and that of a bare loop over `session.run` are taken
of one and the same session, in turn, on one thread; the ratio of the two in each round. The bare loop has its input
ready, while bench makes it of uint8 pixels each time, which it says it does; so the time of that is told, too.

`overhead`: a whole `bench` of the model without the memory, which runs in a process of its own: the time on the wall
that is not spent within `session.run`, as a share of that which is. Opening the model, preprocessing, uncounted calls'
preprocessing, clocks and figures are in it.

    python benchmarks/latency.py MODEL.onnx
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.bench.bench import bench
from facedistill.bench.latency import measure_latencies
from facedistill.bench.pinned import pinned
from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.export.export import export_onnx
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing


class TimedSession:
    """A session that adds up the time within `run`."""

    spent = 0.0

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        found = self._session.run(*arguments)
        TimedSession.spent += time.perf_counter() - started
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def median_of(call: Callable[[], object], seconds: float) -> float:
    times: list[float] = []
    while sum(times) < seconds or len(times) < 9:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def agreement(model: Path, given: dict[str, Any], rounds: int, seconds: float) -> None:
    with pinned(1):
        embedder = OnnxEmbedder(model, device="cpu", threads=1, **given)
        size = embedder.preprocessing.size
        crops = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
        session = embedder._session
        taken = session.get_inputs()[0]
        pixels = taken.type == "tensor(uint8)"
        inputs = {taken.name: crops if pixels else embedder.preprocessing.to_numpy(crops)}
        preparing = 0.0 if pixels else median_of(lambda: embedder.preprocessing.to_numpy(crops), 0.2)
        ratios, bare = [], []
        for number in range(rounds):
            # Which goes first changes, so that a drift does not speak for one of them.
            if number % 2:
                bare.append(median_of(lambda: session.run(None, inputs), seconds))
                ours = measure_latencies([embedder], seconds=seconds, most=10**9)[0].median
            else:
                ours = measure_latencies([embedder], seconds=seconds, most=10**9)[0].median
                bare.append(median_of(lambda: session.run(None, inputs), seconds))
            ratios.append(ours / bare[-1])
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    print(
        f"agreement: bench's median is {middle:.4f} times that of a bare session.run ({low:.4f} to {high:.4f} for 80 % "
        f"of {rounds} rounds; {1e3 * statistics.median(bare):.2f} ms, preprocessing "
        f"{100 * preparing / statistics.median(bare):.2f} % of it)",
        flush=True,
    )


def overhead(model: Path, given: dict[str, Any], seconds: float) -> None:
    opened = OnnxEmbedder.__init__

    def open_timed(self: OnnxEmbedder, *arguments: Any, **settings: Any) -> None:
        opened(self, *arguments, **settings)
        self._session = TimedSession(self._session)

    OnnxEmbedder.__init__ = open_timed  # type: ignore[method-assign]
    try:
        started = time.perf_counter()
        bench([model], seconds=seconds, memory=False, **given)
        wall = time.perf_counter() - started
    finally:
        OnnxEmbedder.__init__ = opened  # type: ignore[method-assign]
    spent = TimedSession.spent
    share = 100 * (wall / spent - 1)
    print(f"overhead: bench took {wall:.1f} s, {spent:.1f} s within session.run: {share:.2f} % besides", flush=True)


def made_model(folder: Path) -> Path:
    """MobileFaceNet as it is drawn at random: its weights do not change its time."""
    torch.manual_seed(0)
    backbone = build_backbone("mobilefacenet", embedding_size=128).eval()
    export_onnx(Checkpoint(backbone, BackboneSpec("mobilefacenet", 128), Preprocessing()), folder / "made.onnx")
    return folder / "made.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="An ONNX file; a MobileFaceNet is made if there is none.")
    parser.add_argument("--color", choices=["rgb", "bgr"])
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=1.0, help="Of each measurement of a round.")
    arguments = parser.parse_args()
    given = {"color": arguments.color, "mean": arguments.mean, "std": arguments.std}
    with tempfile.TemporaryDirectory() as name:
        model = arguments.model or made_model(Path(name))
        agreement(model, given, arguments.rounds, arguments.seconds)
        overhead(model, given, 5 * arguments.seconds)


if __name__ == "__main__":
    main()
