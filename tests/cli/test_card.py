from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .conftest import Call


def test_a_run_has_a_card_and_gets_a_better_one(call: Call, faces: Path, teacher_run: Path, tmp_path: Path) -> None:
    first = (teacher_run / "card.md").read_text()
    assert "| head | arcface, scale 16, margin 0.1 |" in first
    assert "| teacher | none was used |" in first
    assert "None was given with this card" in first
    assert call("make-pairs", faces, "--out", tmp_path / "pairs.csv", "--pairs", 16, "--folds", 2).status == 0
    judged = call(
        "eval", teacher_run, "--pairs", tmp_path / "pairs.csv", "--images", faces, "--resamples", 20,
        "--json", tmp_path / "eval.json",
    )  # fmt: skip
    assert judged.status == 0, judged.err
    written = [tmp_path / "card.md", tmp_path / "card.html"]
    words = ["--results", tmp_path / "eval.json", "--data-license", "made up", "--json", tmp_path / "card.json"]
    done = call("card", teacher_run, *(word for path in written for word in ("-o", path)), *words)
    assert done.status == 0, done.err
    assert "no latency: --results" in done.err
    assert "terms" not in done.err
    values = json.loads((tmp_path / "card.json").read_text())
    accuracy = json.loads((tmp_path / "eval.json").read_text())["benchmarks"][0]["accuracy"]
    assert values["results"][0]["benchmarks"][0]["accuracy"] == accuracy
    for path in written:
        assert f"{100 * accuracy:.2f}" in path.read_text()
        assert "made up" in path.read_text()
    again = call("card", teacher_run, "-o", written[0])
    assert (again.status, "the file exists" in again.err) == (2, True)
    assert call("card", teacher_run, "-o", written[0], "--overwrite").status == 0


def test_wrong_calls(call: Call, color_model: Callable[[int], Path], tmp_path: Path) -> None:
    model = color_model(8)
    other = {"model": "other", "model_sha256": "0" * 64, "benchmarks": []}
    (tmp_path / "eval.json").write_text(json.dumps(other))
    for words, status, message in (
        (["-o", tmp_path / "card.pdf"], 2, "cannot be written as '.pdf'"),
        (["-o", tmp_path / "card.md", "--results", tmp_path / "eval.json"], 2, "the result is of another model: other"),
        (["-o", tmp_path / "card.md", "--results", model], 1, "it is no JSON"),
    ):
        outcome = call("card", model, *words)
        assert outcome.status == status
        assert message in outcome.err
        assert not (tmp_path / "card.md").exists()
    missing = call("card", tmp_path / "none.onnx", "-o", tmp_path / "card.md")
    assert (missing.status, "there is no such model" in missing.err) == (1, True)
