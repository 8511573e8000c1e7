from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from facedistill.bench.bench import BenchedModel, BenchResult
from facedistill.bench.costs import Costs
from facedistill.bench.latency import Latency
from facedistill.errors import DataError
from facedistill.evaluation.comparison.benchmark_comparison import compare_on_pairs
from facedistill.evaluation.comparison.comparison import ComparedModel, Comparison
from facedistill.evaluation.pair_intervals import with_intervals
from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.slices import slice_pairs
from facedistill.evaluation.verification import VerificationResult, evaluate_embeddings
from facedistill.saved_results import SavedResults, read_results

from .evaluation.conftest import make_noisy_pairs


def result(noise: float = 0.25) -> VerificationResult:
    return with_intervals(evaluate_embeddings(*make_noisy_pairs(0, noise=noise), name="made"), resamples=20)


def saved(tmp_path: Path, values: Any) -> SavedResults:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(values))
    return read_results(path)


def test_what_eval_wrote(tmp_path: Path) -> None:
    found = result()
    assert found.judged is not None
    groups = ["a" if index % 3 else "b" for index in range(found.pairs)]
    slices = slice_pairs(found.judged, groups, name="made", column="group")
    report = EvaluationReport("student.onnx", "a" * 64, {}, results=(found,), slices=(slices,))
    read = saved(tmp_path, report.to_dict())
    assert read.models == {"a" * 64: "student.onnx"}
    (figures,) = read.judged[0].benchmarks
    assert (figures.accuracy, figures.pairs, figures.tar_at_far) == (found.accuracy, found.pairs, found.tar_at_far)
    assert figures.intervals == found.intervals
    assert figures.thresholds["accuracy"].squared_l2 == found.accuracy_threshold
    assert read.judged[0].slices == (slices,)


def test_what_compare_wrote(tmp_path: Path) -> None:
    results = [result(), result(noise=1.0)]
    compared = Comparison(
        tuple(ComparedModel(name, f"runs/{name}", name * 64, 16, {}, Costs()) for name in "ab"),
        (compare_on_pairs(["a", "b"], results, resamples=20),),
    )
    read = saved(tmp_path, compared.to_dict())
    assert read.models == {"a" * 64: "a", "b" * 64: "b"}
    for judged, own, ends in zip(read.judged, results, compared.benchmarks[0].intervals, strict=True):
        (figures,) = judged.benchmarks
        assert figures.accuracy == own.accuracy
        assert ends["accuracy"] is not None
        assert figures.intervals is not None
        assert figures.intervals["accuracy"] == (ends["accuracy"].low, ends["accuracy"].high)
        assert figures.resampled == "pairs"


def test_what_bench_wrote(tmp_path: Path) -> None:
    latency = Latency(0.01, 0.009, 0.012, 0.02, 100)
    model = BenchedModel(Path("runs/a.onnx"), "c" * 64, Costs(file_bytes=7), (latency,), (latency,), 1234)
    read = saved(tmp_path, BenchResult((model,), {"processor": "P"}).to_dict())
    (benched,) = read.benched
    assert (benched.sha256, benched.name, benched.peak_bytes, benched.file_bytes) == ("c" * 64, "runs/a.onnx", 1234, 7)
    assert benched.latencies == (latency,)
    assert benched.machine == {"processor": "P"}


def test_what_threshold_and_export_wrote(tmp_path: Path) -> None:
    threshold = {"benchmark": "ours", "far": 1e-3, "cosine": 0.4, "tar": 0.9, "l2": 1.0}
    read = saved(tmp_path, {"model": "m", "model_sha256": "d" * 64, "thresholds": [threshold]})
    assert read.judged[0].thresholds[0].cosine == 0.4
    parity = {"images": "crops", "count": 3, "batches": [1], "lowest_cosine": 0.9, "mean_cosine": 0.95}
    export = {
        "file": "out/i8.onnx",
        "sha256": "e" * 64,
        "source_sha256": "f" * 64,
        "precision": "int8",
        "parity": [{**parity, "largest_difference": 0.1}],
        "accuracy": [{"benchmark": "lfw", "before": 0.99, "after": 0.98, "drop": 1.0}],
    }
    (exported,) = saved(tmp_path, export).exported
    assert (exported.name, exported.precision, exported.source_sha256) == ("out/i8.onnx", "int8", "f" * 64)
    assert (exported.parity[0].mean_cosine, exported.accuracy[0].after) == (0.95, 0.98)


BENCHMARK = {
    "name": "b",
    "pairs": 1,
    "accuracy": 0.9,
    "accuracy_std": 0.0,
    "eer": 0.1,
    "tar_at_far": {"1e-1": None},
    "unheard_of": 3,
}
EVAL = {"model": "m", "model_sha256": "a" * 64, "benchmarks": [BENCHMARK]}


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    assert saved(tmp_path, {**EVAL, "unheard_of": []}).judged[0].benchmarks[0].name == "b"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no result of eval, compare"),
        ("text", "no result of eval, compare"),
        ({"model": "m", "model_sha256": "a", "photos": [], "cosine": 1}, "no result of eval, compare"),
        ({**EVAL, "model_sha256": 3}, "damaged (sha256"),
        ({**EVAL, "benchmarks": [{**BENCHMARK, "accuracy": "high"}]}, "damaged (benchmarks.0.accuracy"),
        ({**EVAL, "benchmarks": [{**BENCHMARK, "eer": math.nan}]}, "damaged (benchmarks.0.eer"),
        ({**EVAL, "benchmarks": [{"name": "b"}]}, "damaged (benchmarks.0"),
        ({"machine": {}, "models": 3}, "not as it was written"),
        ({"machine": {}, "models": [{"path": "p", "latencies": []}]}, "damaged (sha256"),
        ({"models": [{}], "benchmarks": [{"models": []}], "all_pairs": []}, "not as it was written"),
        ({"models": [{"sha256": "a"}], "benchmarks": [], "all_pairs": []}, "damaged (name"),
        ({"file": "f", "sha256": "a", "parity": 3}, "damaged (parity"),
    ],
)
def test_what_is_no_result(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        saved(tmp_path, values)
    assert message in str(caught.value)
    assert "result.json" in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json")
    for content in (b"{", b"\xff\xfe\xff"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(DataError, match="it is no JSON"):
            read_results(tmp_path / "bad.json")
