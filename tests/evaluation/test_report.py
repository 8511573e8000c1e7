from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facedistill.errors import UsageError
from facedistill.evaluation.all_pairs import all_pairs
from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.roc_plot import check_plot_path, plot_roc
from facedistill.evaluation.verification import VerificationResult, evaluate_embeddings
from facedistill.preprocessing import Preprocessing

NoisyResult = Callable[..., VerificationResult]


@pytest.fixture
def report(noisy_pairs: Callable[..., Any], noisy_result: NoisyResult) -> EvaluationReport:
    embeddings, pairs, same = noisy_pairs(1, noise=0.1)
    inverted = evaluate_embeddings(embeddings, pairs, ~same, name="inverted", source_sha256="ab" * 32)
    return EvaluationReport("m.onnx", "f" * 64, Preprocessing().to_dict(), (noisy_result(1), inverted))


def test_json_holds_every_benchmark(report: EvaluationReport, noisy_result: NoisyResult) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["model"] == "m.onnx"
    assert values["preprocessing"]["color"] == "rgb"
    assert [benchmark["name"] for benchmark in values["benchmarks"]] == ["made", "inverted"]
    assert values["benchmarks"][0] == json.loads(json.dumps(noisy_result(1).to_dict()))


def test_the_table_has_a_row_a_benchmark(report: EvaluationReport) -> None:
    ((columns, rows),) = report.tables()
    assert [row[0] for row in rows] == ["made", "inverted"]
    assert all(len(row) == len(columns) for row in rows)


def test_all_pairs_are_a_table_of_their_own(noisy_pairs: Callable[..., Any]) -> None:
    result = all_pairs(noisy_pairs(0)[0], np.repeat(np.arange(40), 4), name="folder", notes=("resized",))
    report = EvaluationReport("m.onnx", "f" * 64, Preprocessing().to_dict(), all_pairs=(result,))
    ((columns, rows),) = report.tables()
    assert columns[:4] == ["all pairs of", "images", "genuine", "impostor"]
    assert rows[0][:4] == ["folder", "160", "240", "12,480"]
    assert report.to_dict()["benchmarks"] == []
    assert report.to_dict()["all_pairs"][0]["tar_at_far"]["1e-5"] is None
    assert report.footnotes() == ["folder: FAR 1e-5 unresolvable: needs 100,000 impostor pairs", "folder: resized"]


def test_lines_below_the_table(report: EvaluationReport) -> None:
    lines = report.footnotes()
    assert "made: FAR 1e-3 unresolvable: needs 1,000 impostor pairs" in lines
    assert "made: 10 stratified folds" in lines
    assert "inverted: 10 stratified folds, SHA-256 abababababab" in lines
    assert len(report.warnings()) == 1
    assert report.warnings()[0].startswith("inverted: accuracy ")


def test_the_plot_shows_every_curve(report: EvaluationReport, tmp_path: Path) -> None:
    report.plot(tmp_path / "new" / "two.png")
    report.results[0].plot(tmp_path / "one.png")
    two, one = (cv2.imread(str(path)) for path in (tmp_path / "new" / "two.png", tmp_path / "one.png"))

    def colored(image: np.ndarray) -> int:
        spread = image.max(axis=2).astype(int) - image.min(axis=2)
        hues = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 0][spread > 100]
        return len({int(hue) // 20 for hue in hues})

    assert (colored(one), colored(two)) == (1, 2)


def test_curves_without_an_end_are_drawn(noisy_result: NoisyResult, tmp_path: Path) -> None:
    """A perfect model, and one that gives the same distance for every pair."""
    perfect = noisy_result(0, noise=0.0)
    pairs, same = np.tile([[0, 1]], (40, 1)), np.tile([True, False], 20)
    constant = evaluate_embeddings(np.eye(2), pairs, same, name="constant")
    assert perfect.accuracy == 1.0
    assert constant.accuracy == 0.5
    plot_roc([perfect, constant], tmp_path / "roc.svg")
    assert (tmp_path / "roc.svg").stat().st_size > 1000


@pytest.mark.parametrize("name", ["roc.txt", "roc"])
def test_an_unknown_kind_of_plot(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written as"):
        check_plot_path(Path(name))
