"""Judge several models on the same benchmarks, measure what they cost, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.bench.costs import model_costs
from facedistill.bench.latency import Latency, measure_latencies, open_for_timing
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.given_preprocessing import preprocessing_for_each
from facedistill.embedders.load_model import Model, load_model
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import UsageError
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.comparison.all_pairs_comparison import AllPairsComparison, compare_on_all_pairs
from facedistill.evaluation.comparison.benchmark_comparison import BenchmarkComparison, compare_on_pairs
from facedistill.evaluation.comparison.comparison import ComparedModel, Comparison
from facedistill.evaluation.comparison.pair_people import people_of_pairs
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.judge import Progress
from facedistill.evaluation.people_bootstrap import PeopleBootstrap
from facedistill.evaluation.suite import LabelledSet, Suite
from facedistill.evaluation.verification import evaluate_verification


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model with what it was opened by.

    Args:
        path: where it lies.
        model: it.
        timed: the same on one thread of the CPU; None where its latency is not wanted, or for a cache.
    """

    path: Path
    model: Model
    timed: Embedder | None


def open_models(
    paths: Sequence[Path],
    *,
    device: str = "auto",
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    latency: bool = True,
    note: Callable[[str], None] | None = None,
) -> list[OpenedModel]:
    """Open two models or more.

    Args:
        paths: run folders, checkpoints, published weights, ONNX files or caches.
        device: "auto", "cpu" or "cuda"; latencies are of the CPU all the same.
        color: colour order of those models that do not carry their preprocessing.
        mean: likewise, 0..255 scale.
        std: likewise, 0..255 scale.
        latency: whether latencies are wanted.
        note: receives one line about each thing that was assumed.

    Raises:
        UsageError: there are fewer than two, one is named twice, or a preprocessing is given and every model carries
            its own.
        ModelFileError: one cannot be loaded.
    """
    if len(paths) < 2:
        raise UsageError("there is nothing to compare with", next_step="Name two models or more")
    twice = next((path for number, path in enumerate(paths) if path in paths[:number]), None)
    if twice is not None:
        raise UsageError("the model is named twice", place=twice)
    given = preprocessing_for_each(paths, color=color, mean=mean, std=std)
    opened = []
    for path, described in zip(paths, given, strict=True):
        model = load_model(path, device=device, note=note, **described)
        timed: Embedder | None = None
        if latency and isinstance(model, TorchEmbedder) and model.device.type == "cpu":
            timed = model
        elif latency and not isinstance(model, EmbeddingCache):
            timed = open_for_timing(path, **described)
        opened.append(OpenedModel(path, model, timed))
    return opened


def compare_models(
    models: Sequence[OpenedModel],
    suite: Suite,
    progress: Progress,
    *,
    batch_size: int = 64,
) -> Comparison:
    """Judge models on pair lists and on all pairs of data sets, and compare them with the first.

    Args:
        models: from `open_models`.
        suite: what they are judged on.
        progress: shows how far the embedding is.
        batch_size: images a call of the network.

    Raises:
        DataError, ModelFileError: as of `evaluate_verification`.
    """
    names = short_names([opened.path for opened in models])
    on_pairs = [_on_pairs(names, models, benchmark, progress, batch_size) for benchmark in suite.benchmarks]
    on_all = [_on_all_pairs(names, models, part, progress, batch_size) for part in suite.labelled]
    timed = [opened.timed for opened in models if opened.timed is not None]
    latencies = iter(measure_latencies(timed) if timed else [])
    return Comparison(
        tuple(
            _described(name, opened, None if opened.timed is None else next(latencies))
            for name, opened in zip(names, models, strict=True)
        ),
        tuple(on_pairs),
        tuple(on_all),
    )


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of different paths, as many of them as tell all apart."""
    most = max(len(path.parts) for path in paths)
    tails = ([Path(*path.parts[-count:]).as_posix() for path in paths] for count in range(1, most))
    return next((names for names in tails if len(set(names)) == len(names)), [path.as_posix() for path in paths])


def _on_pairs(
    names: Sequence[str], models: Sequence[OpenedModel], benchmark: Benchmark, progress: Progress, batch_size: int
) -> BenchmarkComparison:
    results = []
    for name, opened in zip(names, models, strict=True):
        with progress(f"{benchmark.name}, {name}") as tell:
            results.append(evaluate_verification(opened.model, benchmark, batch_size=batch_size, progress=tell))
    people = people_of_pairs(benchmark.dataset, benchmark.pairs, benchmark.same)
    return compare_on_pairs(names, results, people=people)


def _on_all_pairs(
    names: Sequence[str],
    models: Sequence[OpenedModel],
    labelled: LabelledSet,
    progress: Progress,
    batch_size: int,
) -> AllPairsComparison:
    dataset, dataset_name = labelled.dataset, labelled.name
    people = PeopleBootstrap(dataset.labels, name=dataset_name)
    runs, notes = [], dict[str, None]()
    for name, opened in zip(names, models, strict=True):
        with progress(f"{dataset_name}, {name}") as tell:
            described = describe(opened.model, dataset, batch_size=batch_size, progress=tell)
        runs.append(people.of(described.unit))
        notes |= dict.fromkeys(described.notes)
    return compare_on_all_pairs(
        names,
        runs,
        name=dataset_name,
        fingerprint=dataset.fingerprint,
        people=len(np.unique(dataset.labels)),
        images=len(dataset),
        notes=tuple(notes),
    )


def _described(name: str, opened: OpenedModel, latency: Latency | None) -> ComparedModel:
    model = opened.model
    return ComparedModel(
        name,
        str(opened.path),
        model.model_fingerprint if isinstance(model, EmbeddingCache) else model.fingerprint,
        model.embedding_size,
        model.preprocessing.to_dict(),
        model_costs(opened.path, model, latency),
    )
