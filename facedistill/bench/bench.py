"""Several models timed side by side: latency of one face, throughput of many, memory."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from facedistill.bench.costs import Costs, model_costs
from facedistill.bench.latency import SECONDS, Latency, measure_latencies, open_for_timing
from facedistill.bench.memory import peak_memory
from facedistill.embedders.given_preprocessing import preprocessing_for_each
from facedistill.errors import UsageError
from facedistill.processors import available_processors

BATCHES = (1, 8, 32)
"""Crops a call for the throughput (ours)."""


@dataclass(frozen=True)
class BenchedModel:
    """What was measured of one model.

    Args:
        path: where it lies.
        costs: parameters, multiply-adds and size.
        latencies: of one crop a call, by threads.
        throughputs: with all threads, by batch.
        peak_bytes: see `peak_memory`; None where it was not measured.
    """

    path: Path
    costs: Costs
    latencies: tuple[Latency, ...]
    throughputs: tuple[Latency, ...]
    peak_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.path),
            **{name: value for name, value in self.costs.to_dict().items() if name != "latency"},
            "latencies": [latency.to_dict() for latency in self.latencies],
            "throughputs": [latency.to_dict() for latency in self.throughputs],
            "peak_bytes": self.peak_bytes,
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
        """What the models cost, the latency of one face, and the throughput, each with its title."""
        costs = [[name, *_spell_costs(model)] for name, model in zip(names, self.models, strict=True)]
        latencies = [
            [name, str(found.threads), *(f"{1e3 * value:.2f}" for value in (found.median, found.high, found.slowest))]
            for name, model in zip(names, self.models, strict=True)
            for found in model.latencies
        ]
        batches = [f"batch {found.batch}" for found in self.models[0].throughputs]
        speeds = [
            [name, *(f"{found.images_per_second:,.0f}" for found in model.throughputs)]
            for name, model in zip(names, self.models, strict=True)
        ]
        threads = self.models[0].throughputs[0].threads if batches else 0
        found = [
            ("", (["model", "parameters", "multiply-adds", "size", "peak memory"], costs)),
            ("one face, ms", (["model", "threads", "median", "90 %", "99 %"], latencies)),
        ]
        plural = "thread" if threads == 1 else "threads"
        return found + ([(f"faces a second, {threads} {plural}", (["model", *batches], speeds))] if batches else [])


def bench(
    paths: Sequence[Path],
    *,
    batches: Sequence[int] = BATCHES,
    threads: int | None = None,
    seconds: float = SECONDS,
    memory: bool = True,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    stage: Callable[[str], None] = lambda _: None,
) -> BenchResult:
    """Measure models on the CPU, called in turn, so that whatever else the machine does hits all of them alike.

    Args:
        paths: run folders, checkpoints, published weights or ONNX files.
        batches: crops a call for the throughput.
        threads: the most to use; None for as many as there are processors. Latency is measured with one, too.
        seconds: for the counted calls of each measurement of each model.
        memory: whether to measure the memory, each model in a process of its own.
        color: of models that carry no preprocessing, as of `load_embedder`, as are the following.
        mean: likewise.
        std: likewise.
        stage: told what is measured now.

    Raises:
        UsageError: there is no model, one is named twice, or a number is below 1.
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
    latencies: list[list[Latency]] = [[] for _ in paths]
    throughputs: list[list[Latency]] = [[] for _ in paths]
    models = []
    for count in dict.fromkeys((1, most)):
        models = [open_for_timing(path, threads=count, **own) for path, own in zip(paths, given, strict=True)]
        stage(f"one face, {count} thread{'s' if count > 1 else ''}")
        for found, latency in zip(latencies, measure_latencies(models, threads=count, seconds=seconds), strict=True):
            found.append(latency)
    for batch in batches:
        stage(f"batches of {batch}")
        measured = measure_latencies(models, batch=batch, threads=most, seconds=seconds)
        for found, latency in zip(throughputs, measured, strict=True):
            found.append(latency)
    peaks: list[int | None] = [None] * len(paths)
    if memory:
        stage("memory")
        peaks = [peak_memory(path, **own) for path, own in zip(paths, given, strict=True)]
    return BenchResult(
        tuple(
            BenchedModel(path, model_costs(path, model), tuple(own), tuple(many), peak)
            for path, model, own, many, peak in zip(paths, models, latencies, throughputs, peaks, strict=True)
        ),
        this_machine(most),
    )


def this_machine(threads: int) -> dict[str, Any]:
    """What the figures depend on besides the models."""
    return {
        "processor": _processor(),
        "processors": available_processors(),
        "threads": threads,
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
