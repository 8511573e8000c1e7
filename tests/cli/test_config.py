"""What a YAML file of a command's options may look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from facedistill_cli.config import several

from .conftest import Call


@pytest.mark.parametrize(
    ("value", "joined_by", "expected"),
    [
        ("a=1", "=", ["a=1"]),
        (["a=1", "b=2"], "=", ["a=1", "b=2"]),
        ({"a": 1, "b": "x"}, "=", ["a=1", "b=x"]),
        ({"hard": False, "margin": None}, "=", ["hard=false", "margin=none"]),
        (
            {"margin-softmax": {"head": "cosface", "scale": 32}},
            "=",
            ["margin-softmax.head=cosface", "margin-softmax.scale=32"],
        ),
        ({"ekd": 2, "sp": 0.5}, ":", ["ekd:2", "sp:0.5"]),
        (["cosine", {"ekd": 2}], ":", ["cosine", "ekd:2"]),
    ],
)
def test_values_of_an_option_that_may_be_repeated(value: Any, joined_by: str, expected: list[str]) -> None:
    assert several(value, joined_by) == expected


def test_methods_and_their_options_from_a_file(call: Call, faces: Path, tmp_path: Path) -> None:
    config = {
        "method": {"margin-softmax": 2},
        "plus": [{"triplet": 0.5}],
        "set": {"margin-softmax": {"head": "cosface", "margin": None}, "triplet": {"margin": 0.2}},
        "teacher": None,
        "student": "tinyfacenet", "width": 0.5, "input_size": 64, "batch_size": 16, "epochs": 1, "device": "cpu",
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    outcome = call("distill", faces, "--out", tmp_path / "run", "--config", tmp_path / "c.yaml")
    assert outcome.status == 0, outcome.err
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["method"], kept["plus"]) == ("margin-softmax:2", ["triplet:0.5"])
    assert kept["set"] == ["margin-softmax.head=cosface", "margin-softmax.margin=none", "triplet.margin=0.2"]
    again = call("distill", "--config", tmp_path / "run" / "config.yaml", "--out", tmp_path / "again", faces)
    assert again.status == 0, again.err


def test_what_is_printed_is_what_was_meant(call: Call, faces: Path, tmp_path: Path) -> None:
    outcome = call("distill", faces, "--out", tmp_path / "run", "--method", "adadistill:cat:")
    assert "adadistill:cat:: 'cat:' is no weight" in outcome.err
