from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from facedistill.files import file_sha256

from .conftest import Call

DESCRIBED = ["--color", "rgb", "--mean", 127.5, "--std", 128]
QUICK = ["--seconds", 0.01, "--threads", 1, "--no-memory", "--batch", 2]


def test_speed_beside_accuracy(call: Call, color_model: Callable[[int], Path], tmp_path: Path) -> None:
    model = color_model(8)
    benchmark = {"name": "lfw", "pairs": 9, "accuracy": 0.75, "accuracy_std": 0.1, "eer": 0.2, "tar_at_far": {}}
    judged = {"model": "m", "model_sha256": file_sha256(model), "benchmarks": [benchmark]}
    (tmp_path / "eval.json").write_text(json.dumps(judged))
    words = ["--accuracy", tmp_path / "eval.json", "--plot", tmp_path / "p.png", "--json", tmp_path / "bench.json"]
    done = call("bench", model, *DESCRIBED, *QUICK, *words)
    assert done.status == 0, done.err
    assert "lfw, %" in done.out
    assert "75.00" in done.out
    assert "faces a second" in done.out
    (found,) = json.loads((tmp_path / "bench.json").read_text())["models"]
    assert found["accuracies"]["lfw"]["accuracy"] == 0.75
    assert [each["batch"] for each in found["throughputs"]] == [2]
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_wrong_calls(call: Call, color_model: Callable[[int], Path], tmp_path: Path) -> None:
    model = color_model(8)
    (tmp_path / "eval.json").write_text(json.dumps({"model": "m", "model_sha256": "0" * 64, "benchmarks": []}))
    for words, message in (
        (["--plot", tmp_path / "p.png"], "--plot shows accuracies, and none is given"),
        (["--plot", tmp_path / "p.doc", "--accuracy", tmp_path / "eval.json"], "cannot be written as '.doc'"),
        (["--accuracy", tmp_path / "eval.json"], "of none of the models here"),
    ):
        outcome = call("bench", model, *DESCRIBED, *QUICK, *words)
        assert (outcome.status, message in outcome.err) == (2, True), outcome.err
