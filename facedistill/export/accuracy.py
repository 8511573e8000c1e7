"""Whether a file recognises people as well as its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facedistill.embedders.embedder import Embedder
from facedistill.errors import GateError
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.judge import Progress
from facedistill.evaluation.verification import evaluate_verification

MAX_DROP = 0.1
"""Points of accuracy that a file may lose."""


@dataclass(frozen=True)
class Drop:
    """What became of the accuracy on one benchmark.

    Args:
        benchmark: its name.
        before: accuracy of the source, a share.
        after: of the result.
    """

    benchmark: str
    before: float
    after: float

    @property
    def points(self) -> float:
        """What was lost, in points of a hundred; below 0 where something was gained."""
        return 100 * (self.before - self.after)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"benchmark": self.benchmark, "before": self.before, "after": self.after, "drop": self.points}


def measure_drop(
    source: Embedder, result: Embedder, benchmarks: Sequence[Benchmark], *, progress: Progress
) -> tuple[Drop, ...]:
    """Judge both on every benchmark; errors as of `evaluate_verification`."""
    drops = []
    for benchmark in benchmarks:
        accuracies = []
        for embedder, which in ((source, "source"), (result, "result")):
            with progress(f"{benchmark.name}, {which}") as tell:
                accuracies.append(evaluate_verification(embedder, benchmark, progress=tell).accuracy)
        drops.append(Drop(benchmark.name, *accuracies))
    return tuple(drops)


def hold_accuracy(drops: Sequence[Drop], max_drop: float) -> None:
    """GateError where a benchmark's accuracy falls by more than `max_drop` points."""
    for drop in drops:
        # Written so that a NaN fails too; the last digits are those of shares of pairs.
        if not drop.points <= max_drop + 1e-9:
            raise GateError(
                f"the accuracy falls from {100 * drop.before:.2f} to {100 * drop.after:.2f} %, and may fall by "
                f"{max_drop:g} points",
                place=drop.benchmark,
            )
