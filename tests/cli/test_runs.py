from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Call


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs that differ in their learning rate, below the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, lr, loss in (("a", 0.1, 2.0), ("b", 0.2, 1.0)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        config: dict[str, Any] = {"head": "cosface", "epochs": 2, "lr": lr, "run": {"command": "train-teacher"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        records = [{"step": 10 * epoch, "epoch": epoch, "loss": loss / epoch, "accuracy": 0.9} for epoch in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def cells(output: str) -> list[list[str]]:
    """The rows of the printed table."""
    rows = [re.split(r"[│┃]", line)[1:-1] for line in output.splitlines() if re.match(r"[│┃]", line)]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_runs_below_the_current_folder(call: Call, runs: Path) -> None:
    outcome = call("runs", "--json", "r.json")
    assert outcome.status == 0, outcome.err
    assert [row[0] for row in cells(outcome.out)] == ["run", "runs/a", "runs/b"]
    assert cells(outcome.out)[1][1] == "train-teacher cosface"
    assert cells(outcome.out)[1][4] == "epoch 2/2, step 20"
    assert cells(outcome.out)[1][5].startswith("finished, ")
    assert [run["name"] for run in json.loads(Path("r.json").read_text())["runs"]] == ["runs/a", "runs/b"]


def test_sorted_compared_and_plotted(call: Call, runs: Path) -> None:
    outcome = call("runs", "runs/a", "runs/b", "--sort", "loss", "--compare", "--plot", "p.png", "--figure", "accuracy")
    assert outcome.status == 0, outcome.err
    assert cells(outcome.out) == [
        ["run", "lr", "done", "loss", "best accuracy", "images/s"],
        ["runs/b", "0.2", "epoch 2/2, step 20", "0.5", "90.00 (step 10)", "-"],
        ["runs/a", "0.1", "epoch 2/2, step 20", "1", "90.00 (step 10)", "-"],
    ]
    assert "Drew accuracy: p.png" in outcome.out
    assert Path("p.png").stat().st_size > 1000


def test_quiet_says_what_is_damaged_and_nothing_else(call: Call, runs: Path) -> None:
    with (runs / "runs" / "a" / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 30, "los')
    outcome = call("runs", "--quiet")
    assert (outcome.status, outcome.out) == (0, "")
    assert "runs/a: 1 line of metrics.jsonl is damaged and left out" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 2, "nowhere: there is no such folder"),
        (["--sort", "los"], 2, "no figure of these runs called 'los'. Did you mean 'loss'?"),
        (["--figure", "loss"], 2, "Add --plot FILE"),
        (["--plot", "p.txt"], 2, "a plot cannot be written as '.txt'"),
        (["--plot", "p.png", "--figure", "los"], 2, "Did you mean 'loss'?"),
        (["empty"], 1, "there is no run in or below empty (a folder with config.yaml and metrics.jsonl)"),
        (["--plot", "runs/a/config.yaml/p.png"], 1, "the picture cannot be written"),
    ],
)
def test_errors(call: Call, runs: Path, arguments: list[str], status: int, message: str) -> None:
    Path("empty").mkdir()
    outcome = call("runs", *arguments)
    assert outcome.status == status, outcome.err
    assert message in outcome.err


def test_nothing_that_differs(call: Call, runs: Path) -> None:
    (runs / "runs" / "b" / "config.yaml").write_text((runs / "runs" / "a" / "config.yaml").read_text())
    assert "The runs differ in no option." in call("runs", "--compare").out


def test_a_list_of_runs_needs_no_torch(runs: Path) -> None:
    code = (
        "import sys; from facedistill.training.runs_table import find_runs; from pathlib import Path; "
        "find_runs([Path()]).table(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
