from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
from facedistill_cli.app import main
from onnx import TensorProto, helper


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
def color_model(tmp_path: Path) -> Callable[[int], Path]:
    """Makes an ONNX file that embeds a crop of so many pixels a side as its mean colour."""

    def make(size: int) -> Path:
        nodes = [
            helper.make_node("GlobalAveragePool", ["in"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["out"]),
        ]
        graph = helper.make_graph(
            nodes,
            "colours",
            [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, size, size])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        )
        path = tmp_path / "colours.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        return path

    return make


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
