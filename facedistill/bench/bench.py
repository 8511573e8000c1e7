"""Several models timed side by side: latency of one face, throughput of many, memory, and accuracy beside them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from facedistill.bench.accuracies import accuracies_of
from facedistill.bench.accuracy_plot import PlottedModel, plot_accuracy
from facedistill.bench.costs import Costs, model_costs
from facedistill.bench.latency import SECONDS, Latency, measure_latencies, open_for_timing
from facedistill.bench.memory import peak_memory
from facedistill.bench.pinned import pinned
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.given_preprocessing import preprocessing_for_each
from facedistill.errors import UsageError
from facedistill.processors import available_processors
from facedistill.saved_results import PairFigures, SavedResults

BATCHES = (1, 8, 32)
"""Crops a call for the throughput (ours)."""

CALLS = 1000
"""Calls of a measurement, where they fit into its time (ours): 1 % of them is enough to tell the slowest 1 %."""


@dataclass(frozen=True)
class BenchedModel:
    """What was measured of one model.

    Args:
        path: where it lies.
        sha256: of its weights file, as hex.
        costs: parameters, multiply-adds and size.
        latencies: of one crop a call, by threads.
        throughputs: by threads, and for each by batch.
        peak_bytes: see `peak_memory`; None where it was not measured.
        accuracies: what it reaches, by benchmark, as far as results of it were given.
    """

    path: Path
    sha256: str
    costs: Costs
    latencies: tuple[Latency, ...]
    throughputs: tuple[Latency, ...]
    peak_bytes: int | None
    accuracies: dict[str, PairFigures] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            **{name: value for name, value in self.costs.to_dict().items() if name != "latency"},
            "latencies": [latency.to_dict() for latency in self.latencies],
            "throughputs": [latency.to_dict() for latency in self.throughputs],
            "peak_bytes": self.peak_bytes,
            "accuracies": {
                name: {"accuracy": found.accuracy, "accuracy_std": found.accuracy_std}
                for name, found in self.accuracies.items()
            },
        }


@dataclass(frozen=True)
class BenchResult:
    """Models that were measured together.

    Args:
        models: in the order asked for.
        machine: what they ran on.
    """

    models: tuple[BenchedModel, ...]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times are seconds."""
        return {"machine": self.machine, "models": [model.to_dict() for model in self.models]}

    def tables(self, names: Sequence[str]) -> list[tuple[str, tuple[list[str], list[list[str]]]]]:
        """What the models cost and reach, the latency of one face, and the throughput, each with its title."""
        named = list(zip(names, self.models, strict=True))
        benchmarks = list(dict.fromkeys(name for model in self.models for name in model.accuracies))
        costs = [[name, *_spell_costs(model), *_spell_accuracies(model, benchmarks)] for name, model in named]
        latencies = [
            [name, str(found.threads), *(f"{1e3 * value:.2f}" for value in (found.median, found.high, found.slowest))]
            for name, model in named
            for found in model.latencies
        ]
        heads = ["model", "parameters", "multiply-adds", "size", "peak memory", *(f"{name}, %" for name in benchmarks)]
        found = [
            ("", (heads, costs)),
            ("one face, ms", (["model", "threads", "median", "90 %", "99 %"], latencies)),
        ]
        batches = dict.fromkeys(each.batch for each in self.models[0].throughputs)
        if not batches:
            return found
        speeds = [
            [
                name,
                str(latency.threads),
                *(f"{each.images_per_second:,.0f}" for each in model.throughputs if each.threads == latency.threads),
            ]
            for name, model in named
            for latency in model.latencies
        ]
        heads = ["model", "threads", *(f"batch {batch}" for batch in batches)]
        return [*found, ("faces a second", (heads, speeds))]

    def plot(self, path: Path, names: Sequence[str]) -> None:
        """Draw accuracy against the latency of one face on one thread; see `plot_accuracy`."""
        plot_accuracy(
            [
                PlottedModel(name, each.latencies[0], each.accuracies)
                for name, each in zip(names, self.models, strict=True)
            ],
            path,
        )


def bench(
    paths: Sequence[Path],
    *,
    batches: Sequence[int] = BATCHES,
    threads: int | None = None,
    seconds: float = SECONDS,
    memory: bool = True,
    results: Sequence[SavedResults] = (),
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    stage: Callable[[str], None] = lambda _: None,
) -> BenchResult:
    """Measure models on the CPU, called in turns, so that whatever else the machine does hits all of them alike.

    Args:
        paths: run folders, checkpoints, published weights or ONNX files.
        batches: crops a call for the throughput.
        threads: the most to use; None for as many as there are processors. All is measured with one, too.
        seconds: for the counted calls of each measurement of each model.
        memory: whether to measure the memory, each model in a process of its own.
        results: what these models reach, from eval or compare.
        color: of models that carry no preprocessing, as of `load_embedder`, as are the following.
        mean: likewise.
        std: likewise.
        stage: told what is measured now.

    Raises:
        UsageError: there is no model, one is named twice, a number is below 1, or a result is of none of the models.
        ModelFileError: a model cannot be opened or run.
    """
    if not paths:
        raise UsageError("there is nothing to measure", next_step="Name a model, or several")
    if len(set(paths)) < len(paths):
        raise UsageError("a model is named twice")
    most = available_processors() if threads is None else threads
    if most < 1 or any(batch < 1 for batch in batches):
        raise UsageError("threads and batches begin at 1")
    given = preprocessing_for_each(paths, color=color, mean=mean, std=std)
    reached = accuracies_of(paths, results)
    measured: list[dict[tuple[int, int], Latency]] = [{} for _ in paths]
    models: list[Embedder] = []
    processors = {}
    for count in dict.fromkeys((1, most)):
        with pinned(count) as processors[count]:
            models = [open_for_timing(path, threads=count, **own) for path, own in zip(paths, given, strict=True)]
            for batch in dict.fromkeys((1, *batches)):
                stage(f"{_faces(batch)}, {count} thread{'s' if count > 1 else ''}")
                latencies = measure_latencies(models, batch=batch, threads=count, seconds=seconds, most=CALLS)
                for found, latency in zip(measured, latencies, strict=True):
                    found[count, batch] = latency
    peaks: list[int | None] = [None] * len(paths)
    if memory:
        stage("memory")
        peaks = [peak_memory(path, **own) for path, own in zip(paths, given, strict=True)]
    return BenchResult(
        tuple(
            BenchedModel(
                path,
                model.fingerprint,
                model_costs(path, model),
                tuple(found[count, 1] for count in processors),
                tuple(found[count, batch] for count in processors for batch in batches),
                peak,
                accuracies,
            )
            for path, model, found, peak, accuracies in zip(paths, models, measured, peaks, reached, strict=True)
        ),
        this_machine(most, processors[1]),
    )


def _faces(batch: int) -> str:
    return "one face" if batch == 1 else f"batches of {batch}"


def this_machine(threads: int, pinned_to: tuple[int, ...] | None) -> dict[str, Any]:
    """What the figures depend on besides the models; `pinned_to`: where one thread was kept."""
    return {
        "processor": _processor(),
        "processors": available_processors(),
        "threads": threads,
        "pinned": pinned_to is not None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": ort.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or "unknown"


def _spell_costs(model: BenchedModel) -> list[str]:
    costs = model.costs
    return [
        "-" if costs.parameters is None else f"{costs.parameters / 1e6:.3f} M",
        "-" if costs.multiply_adds is None else f"{costs.multiply_adds / 1e6:.1f} M",
        "-" if costs.file_bytes is None else f"{costs.file_bytes / 1e6:.2f} MB",
        "-" if model.peak_bytes is None else f"{model.peak_bytes / 1e6:.0f} MB",
    ]


def _spell_accuracies(model: BenchedModel, benchmarks: Sequence[str]) -> list[str]:
    found = [model.accuracies.get(name) for name in benchmarks]
    return ["-" if each is None else f"{100 * each.accuracy:.2f}" for each in found]
