from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.export.onnx_metadata import add_metadata
from facedistill.export.saved_thresholds import KEY, read_thresholds, save_thresholds

from .conftest import Call

DESCRIBED = ["--color", "rgb", "--mean", 127.5, "--std", 128, "--aligned"]


@pytest.fixture
def model(color_model: Callable[[int], Path]) -> Path:
    return color_model(8)


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    """Two reds and a blue."""
    paths = []
    for number, color in enumerate([(40, 40, 220), (90, 70, 190), (220, 40, 40)]):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.full((8, 8, 3), color, dtype=np.uint8))
    return paths


def test_crops_are_compared_with_a_given_threshold(call: Call, model: Path, crops: list[Path], tmp_path: Path) -> None:
    alike = call("verify", *crops[:2], "--model", model, *DESCRIBED, "--threshold", 0.9, "--json", tmp_path / "v.json")
    assert alike.status == 0, alike.err
    assert alike.out.startswith("the same person: cosine 0.9")
    assert json.loads((tmp_path / "v.json").read_text())["same"] is True
    other = call("verify", crops[0], crops[2], "--model", model, *DESCRIBED, "--threshold", 0.9)
    assert (other.status, other.out.split(":")[0]) == (0, "two people")


def test_a_saved_threshold_is_used(call: Call, model: Path, crops: list[Path]) -> None:
    undecided = call("verify", *crops[:2], "--model", model, *DESCRIBED)
    assert undecided.status == 0
    assert undecided.out.startswith("cosine 0.9")
    assert "no threshold is known" in undecided.err
    save_thresholds(model, [{"far": 1e-3, "cosine": 0.8, "benchmark": "ours"}])
    assert read_thresholds(model) == [{"far": 1e-3, "cosine": 0.8, "benchmark": "ours"}]
    decided = call("verify", *crops[:2], "--model", model, *DESCRIBED)
    assert "(FAR 1e-3 on ours, saved in the model)" in decided.out


@pytest.mark.parametrize("text", ["{", "3", '[{"far": 2, "cosine": 0.1, "benchmark": "b"}]', '[{"far": 0.1}]'])
def test_damaged_thresholds(call: Call, model: Path, crops: list[Path], text: str) -> None:
    add_metadata(model, {KEY: text})
    outcome = call("verify", *crops[:2], "--model", model, *DESCRIBED)
    assert outcome.status == 1
    assert "its saved thresholds are damaged" in outcome.err


def test_wrong_calls(call: Call, model: Path, crops: list[Path], tmp_path: Path) -> None:
    drawn = call("verify", *crops[:2], "--model", model, *DESCRIBED, "--draw", tmp_path / "d.png")
    assert drawn.status == 2
    assert "none is looked for" in drawn.err
    missing = call("verify", crops[0], tmp_path / "no.jpg", "--model", model, *DESCRIBED)
    assert missing.status == 1
    assert "no.jpg" in missing.err
    blank = call("verify", *crops[:2], "--model", model, *DESCRIBED[:-1])
    assert blank.status == 1
    assert "no face is found" in blank.err
