"""Judge a model on a benchmark as the command line does: with intervals and doubts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace

from facedistill.embedders.load_model import Model
from facedistill.evaluation.all_pairs import AllPairsResult, evaluate_all_pairs
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.input_doubts import input_doubts, sample_pairs
from facedistill.evaluation.pair_intervals import with_intervals
from facedistill.evaluation.people_bootstrap import RESAMPLES
from facedistill.evaluation.suite import LabelledSet
from facedistill.evaluation.trained_on import names_of, trained_on_warning
from facedistill.evaluation.verification import VerificationResult, evaluate_verification

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows how far something is: from its name, what is called with (images done, images)."""


def judge_pairs(
    model: Model,
    benchmark: Benchmark,
    *,
    trained: Collection[str] | None = None,
    batch_size: int = 64,
    resamples: int = RESAMPLES,
    progress: Progress,
) -> VerificationResult:
    """`evaluate_verification`, with intervals and with what looks wrong with the input.

    Args:
        model: any model, or a cache that holds the benchmark's images.
        benchmark: pairs and folds.
        trained: the people that the model was trained on; None where nobody asks.
        batch_size: images a call of the network.
        resamples: for the intervals; 0 for none.
        progress: shows how far the embedding is.

    Raises:
        DataError, ModelFileError: as of `describe`.
    """
    with progress(benchmark.name) as tell:
        result = evaluate_verification(model, benchmark, batch_size=batch_size, progress=tell)
    doubts = input_doubts(model, benchmark.dataset, benchmark.pairs, benchmark.same)
    if trained is not None:
        doubts += (*trained_on_warning(names_of(benchmark.dataset, benchmark.used), trained),)
    return with_intervals(replace(result, warnings=(*doubts, *result.warnings)), resamples=resamples)


def judge_all_pairs(
    model: Model,
    labelled: LabelledSet,
    *,
    trained: Collection[str] | None = None,
    batch_size: int = 64,
    resamples: int = RESAMPLES,
    progress: Progress,
) -> AllPairsResult:
    """`evaluate_all_pairs` with what looks wrong with the input; arguments and errors as of `judge_pairs`."""
    dataset = labelled.dataset
    with progress(labelled.name) as tell:
        result = evaluate_all_pairs(
            model, dataset, name=labelled.name, batch_size=batch_size, resamples=resamples, progress=tell
        )
    doubts = input_doubts(model, dataset, *sample_pairs(dataset.labels))
    if trained is not None:
        doubts += (*trained_on_warning(dataset.identities, trained),)
    return replace(result, warnings=(*doubts, *result.warnings))
