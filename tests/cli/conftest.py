from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from facedistill_cli.app import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line with these arguments: its exit status and what it printed. Never a traceback."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["facedistill", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        os.environ.pop("FACEDISTILL_DEBUG", None)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def small() -> list[str]:
    """Options that make a training run take a second."""
    return ["--epochs", "1", "--batch-size", "16", "--input-size", "64", "--warmup-epochs", "0", "--device", "cpu"]


@pytest.fixture
def teacher_run(call: Call, small: list[str], faces: Path, tmp_path: Path) -> Path:
    outcome = call(
        "train-teacher", faces, "--out", tmp_path / "teacher", "--model", "tinyfacenet", "--embedding-size", 16,
        "--scale", 16, "--margin", 0.1, *small, "--epochs", 8,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    return tmp_path / "teacher"
