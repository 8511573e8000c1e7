"""`facedistill models`: what the backbones cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from facedistill.models import BACKBONES

from .conftest import Call

KEYS = [
    "name", "embedding_size", "width", "input_size", "parameters", "multiply_adds", "fp32_bytes", "summary", "source",
]  # fmt: skip


def test_the_table_holds_every_backbone(call: Call, tmp_path: Path) -> None:
    outcome = call("models", "--json", tmp_path / "models.json")
    assert outcome.status == 0
    facts = json.loads((tmp_path / "models.json").read_text())
    assert [fact["name"] for fact in facts] == [entry.name for entry in BACKBONES]
    for fact in facts:
        assert list(fact) == KEYS
        assert fact["name"] in outcome.out
    mobilefacenet = next(fact for fact in facts if fact["name"] == "mobilefacenet")
    assert (mobilefacenet["embedding_size"], mobilefacenet["input_size"]) == (128, 112)
    # METHODS 7.1 by hand: 1.003 M, 221.0 M, 4.0 MB.
    assert mobilefacenet["parameters"] == pytest.approx(1.003e6, rel=1e-3)
    assert mobilefacenet["multiply_adds"] == pytest.approx(221.0e6, rel=1e-3)
    line = next(line for line in outcome.out.splitlines() if "mobilefacenet" in line)
    for cell in ("128", "112 x 112", "1.00 M", "221 M", "4.1 MB", "arXiv 1804.07573"):
        assert cell in line
    assert "timm:NAME is any model of timm" in outcome.err
    assert "pip install 'facedistill[timm]'" in outcome.err


def test_one_backbone_as_it_is_asked_for(call: Call, tmp_path: Path) -> None:
    outcome = call(
        "models", "mobilefacenet", "--width", 0.5, "--embedding-size", 512, "--input-size", 64, "--json",
        tmp_path / "one.json",
    )  # fmt: skip
    assert outcome.status == 0
    (fact,) = json.loads((tmp_path / "one.json").read_text())
    assert (fact["width"], fact["embedding_size"], fact["input_size"]) == (0.5, 512, 64)
    assert fact["parameters"] < 500_000
    assert "Backbones at width 0.5" in outcome.out
    assert "64 x 64" in outcome.out
    assert "iresnet" not in outcome.out
    assert outcome.err == ""


def test_quiet_prints_nothing(call: Call, tmp_path: Path) -> None:
    outcome = call("models", "tinyfacenet", "-q", "--json", tmp_path / "one.json")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert json.loads((tmp_path / "one.json").read_text())[0]["name"] == "tinyfacenet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mobilfacenet",), "there is no backbone called 'mobilfacenet'. Did you mean 'mobilefacenet'?"),
        (("tinyfacenet", "--width", 0), "the width multiplier is 0.0, it must be above 0"),
        (("tinyfacenet", "--input-size", 8), "the input size is 8"),
    ],
)
def test_wrong_calls(call: Call, arguments: tuple[object, ...], message: str) -> None:
    outcome = call("models", *arguments)
    assert outcome.status == 2
    assert message in outcome.err


def test_without_timm_the_error_names_the_extra(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    outcome = call("models", "timm:resnet18")
    assert outcome.status == 2
    # Brackets are kept: Rich would take them for markup.
    assert "pip install 'facedistill[timm]'" in outcome.err
