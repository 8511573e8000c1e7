from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from facedistill.data.images import read_image
from facedistill.errors import DataError, UsageError
from facedistill.training.run_summary import read_run, short_time
from facedistill.training.runs_table import find_runs

from .made_runs import NOW, by_epoch, by_step, flat_config, nested_config, write_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of two runs, one of each layout, and of what is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    write_run(tmp_path / "runs" / "new", flat_config(), by_step(250))
    write_run(tmp_path / "runs" / "deep" / "er" / "old", nested_config(), by_epoch(3), age=86400)
    write_run(tmp_path / "runs" / ".hidden", flat_config(), by_step(250))
    write_run(tmp_path / "runs" / "new" / "inner", flat_config(), by_step(250))
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.yaml").write_text("a: 1\n")
    (tmp_path / "a file").write_text("x")
    return tmp_path


def test_the_table(here: Path) -> None:
    found = find_runs([Path()], now=NOW)
    columns, rows = found.table()
    assert columns == [
        "run", "training", "backbone", "people / images", "done", "status", "loss", "best accuracy", "images/s",
    ]  # fmt: skip
    assert rows == [
        [
            "runs/deep/er/old", "distill triplet", "mobilefacenet x 0.5", "300 / 1,200", "epoch 3/3",
            "finished, 2025-06-14 15:06", "0.3333", "-", "500",
        ],
        [
            "runs/new", "train-teacher arcface", "iresnet50", "200 / 5,000", "epoch 3/4, step 250",
            "unfinished, last record 3 min ago", "0.4", "90.00 (step 200)", "1,234",
        ],
    ]  # fmt: skip
    assert found.notes == ()


def test_names_are_as_the_folders_were_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(*folders: Path) -> list[str]:
        return [run.name for run in find_runs(folders).runs]

    assert names(Path("runs/new"), Path("runs"), here / "runs" / "new") == ["runs/deep/er/old", "runs/new"]
    assert names(here / "runs" / "new") == [str(here / "runs" / "new")]
    monkeypatch.chdir("runs/new")
    assert names(Path()) == ["new"]


@pytest.mark.parametrize(
    ("config", "records", "status"),
    [
        (flat_config(), by_step(400), "finished"),
        (flat_config(), by_step(350), "unfinished, last record 3 min ago"),
        (flat_config(epochs=1), by_step(100), "not known whether finished, last record 3 min ago"),
        (flat_config(), by_step(50), "unfinished, last record 3 min ago"),
        (flat_config(), [], "begun 3 min ago, no record yet"),
        (flat_config(patience=2), by_step(350), "unfinished, last record 3 min ago"),
        (flat_config(epochs=8, patience=2), by_step(400), "finished early"),
        (flat_config(patience=2), by_step(400), "finished"),
        (nested_config(), by_epoch(2), "unfinished, last record 3 min ago"),
    ],
)
def test_status(tmp_path: Path, config: dict[str, Any], records: list[dict[str, Any]], status: str) -> None:
    run = read_run(write_run(tmp_path / "run", config, records), name="run")
    assert run.status(NOW) == status
    if "run" in config:
        # Where the facts say how many steps there are, nothing has to be inferred.
        config = {**config, "run": {**config["run"], "total_steps": 100}}
        run = read_run(write_run(tmp_path / "other", config, by_step(100)), name="run")
        assert (run.planned_steps, run.status(NOW)) == (100, "finished")
        config["run"]["total_steps"] = 101
        assert not read_run(write_run(tmp_path / "third", config, by_step(100)), name="run").finished


def test_times() -> None:
    shown = [short_time(seconds) for seconds in (-1, 59.9, 60, 3599, 3600, 86399, 86400, 9e5)]
    assert shown == ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "10 d"]


def test_half_written_and_damaged_lines_are_left_out_with_a_note(tmp_path: Path) -> None:
    write_run(
        tmp_path / "run", flat_config(), by_step(250), more='\n[1, 2]\n{"loss": 3}\n\n{"step": 300, "epoch": 3, "lo'
    )
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as stream:
        stream.write(b"\xff\xfe\n")
    found = find_runs([tmp_path])
    assert found.notes == (f"{tmp_path / 'run'}: 3 lines of metrics.jsonl are damaged and left out",)
    assert found.runs[0].step == 250
    assert found.runs[0].damaged == 3


def test_a_run_that_cannot_be_read_is_a_note_and_the_others_are_shown(tmp_path: Path) -> None:
    write_run(tmp_path / "a", flat_config(), by_step(250))
    (write_run(tmp_path / "b", flat_config(), by_step(250)) / "config.yaml").write_text("a: [1\n")
    (write_run(tmp_path / "c", flat_config(), by_step(250)) / "config.yaml").write_text("- 1\n")
    (write_run(tmp_path / "d", flat_config(), by_step(250)) / "config.yaml").write_bytes(b"\xff\xfe\x00")
    write_run(tmp_path / "e", {"epochs": "many", "run": None, "lr": 1}, [{"step": 1, "loss": math.nan, "x": None}])
    found = find_runs([tmp_path], now=NOW)
    assert [run.name for run in found.runs] == [str(tmp_path / "a"), str(tmp_path / "e")]
    assert [note.partition(": ")[2].partition(" (")[0] for note in found.notes] == [
        "the run cannot be read",
        "the run's configuration is not a mapping",
        "the run cannot be read",
    ]
    _, rows = found.table()
    assert rows[1][1:] == ["- -", "-", "-", "-", "unfinished, last record 3 min ago", "-", "-", "-"]
    json.dumps(found.to_dict())
    (tmp_path / "a" / "config.yaml").write_text("- 1\n")
    (tmp_path / "e" / "config.yaml").write_text("- 1\n")
    with pytest.raises(DataError, match="the run's configuration is not a mapping"):
        find_runs([tmp_path])


def test_sorting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), flat_config(), by_step(200), age=10)
    write_run(Path("b"), flat_config(), by_step(100), age=20)
    write_run(Path("c"), flat_config(), by_step(300), age=5)
    write_run(Path("d"), flat_config(), [{"step": 1, "epoch": 1, "train_accuracy": 0.5}], age=30)

    def order(sort: str | None) -> str:
        return "".join(run.name for run in find_runs([Path()], sort=sort).runs)

    assert order(None) == order("name") == "abcd"
    assert order("written") == "cabd"
    assert order("accuracy") == "acbd"  # a and c have the same best one
    assert order("loss") == "cabd"
    assert order("train-accuracy") == "dabc"
    with pytest.raises(UsageError, match=r"no figure of these runs called 'acuracy'. Did you mean 'accuracy'\?"):
        order("acuracy")


def test_comparing_shows_what_differs_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), flat_config(out="a", mirror=True, clip_norm=5.0), by_step(400))
    write_run(
        Path("b"), flat_config(out="b", lr=0.05, mirror=False, **{"weight-decay": 5e-4, "clip-norm": 5.0}), by_step(300)
    )
    columns, rows = find_runs([Path()], compared=True).table()
    assert columns == ["run", "lr", "mirror", "weight-decay", "done", "loss", "best accuracy", "images/s"]
    assert rows == [
        ["a", "0.1", "yes", "-", "epoch 4/4, step 400", "0.25", "90.00 (step 200)", "1,234"],
        ["b", "0.05", "no", "0.0005", "epoch 3/4, step 300", "0.3333", "90.00 (step 200)", "1,234"],
    ]


def test_facts_and_inputs_of_the_layout_of_today_are_compared_too(tmp_path: Path) -> None:
    for name, processes in (("a", 1), ("b", 2)):
        config = flat_config(data=[f"/faces/{name}"], teacher=f"/teachers/{name}.onnx", init="start")
        config["run"] |= {"processes": processes, "teacher": {"name": f"{name}.onnx"}}
        config["run"]["data"] = {**config["run"]["data"], "fingerprint": 6 * name}
        write_run(tmp_path / name, config, by_step(100))
    found = find_runs([tmp_path], compared=True)
    assert [[run.options[name] for name in found.differences] for run in found.runs] == [
        ["5000 images (aaaaaa)", "a.onnx", 1],
        ["5000 images (bbbbbb)", "b.onnx", 2],
    ]
    assert found.differences == ["data", "teacher", "processes"]


def test_comparing_the_two_layouts_turns_the_table(here: Path) -> None:
    found = find_runs([Path("runs")], compared=True)
    columns, rows = found.table()
    assert columns == ["run", "runs/deep/er/old", "runs/new"]
    assert rows == [
        ["method", "triplet", "-"],
        ["epochs", "3", "4"],
        ["lr", "0.05", "0.1"],
        ["backbone", "mobilefacenet", "iresnet50"],
        ["width", "0.5", "1"],
        ["embedding-size", "128", "512"],
        ["data", "1200 images (012345)", "5000 images (abcdef)"],
        ["teacher", "teachers/r50", "-"],
        ["init", "start", "-"],
        ["head", "-", "arcface"],
        ["done", "epoch 3/3", "epoch 3/4, step 250"],
        ["loss", "0.3333", "0.4"],
        ["best accuracy", "-", "90.00 (step 200)"],
        ["images/s", "500", "1,234"],
    ]


def test_as_plain_values(here: Path) -> None:
    result = find_runs([Path("runs/new")], now=NOW).to_dict()
    (run,) = result["runs"]
    assert json.loads(json.dumps(result)) == result
    assert (run["name"], run["step"], run["steps"], run["epochs"], run["finished"]) == ("runs/new", 250, 400, 4, False)
    assert run["best"] == {
        "step": 200, "epoch": 2, "loss": 0.5, "accuracy": 0.9, "accuracy_std": 0.01, "images_per_second": 1234.5,
    }  # fmt: skip
    assert run["last"] == {"step": 250, "epoch": 3, "loss": 0.4, "images_per_second": 1234.5}
    assert run["options"]["backbone"] == "iresnet50"


def test_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no run in or below .* Give the folder that was --out"):
        find_runs([tmp_path])
    with pytest.raises(UsageError, match="there is no such folder"):
        find_runs([tmp_path / "nowhere"])
    write_run(tmp_path / "1" / "2" / "3" / "4" / "5", flat_config(), by_step(250))
    with pytest.raises(DataError, match="there is no run"):
        find_runs([tmp_path])
    assert len(find_runs([tmp_path / "1"]).runs) == 1


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write_run(tmp_path / "run", flat_config(), by_step(250))
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [Path(run.name).name for run in find_runs([tmp_path]).runs] == ["run"]


def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", flat_config(), by_step(250))
    (tmp_path / "closed").mkdir()
    look = os.scandir

    def refuse(folder: Path) -> Any:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert len(find_runs([tmp_path]).runs) == 1


def test_plots(here: Path) -> None:
    write_run(here / "_$}$", flat_config(), by_step(4000, every=10))
    found = find_runs([Path("runs/new"), Path("_$}$")])
    found.plot(Path("plot.svg"), ["loss", "accuracy"])
    picture = Path("plot.svg").read_text(encoding="utf-8")
    for text in ("runs/new", "./_$}$", "loss", "accuracy", "step"):
        assert f">{text}<" in picture or f"<!-- {text} -->" in picture
    found.plot(Path("plot.png"), ["images-per-second"])
    assert read_image(Path("plot.png")).shape[1] > 500
    with pytest.raises(UsageError, match="no figure of these runs called 'los'"):
        found.plot(Path("plot.png"), ["los"])
    with pytest.raises(UsageError, match=r"a plot cannot be written as '.txt'. Use .png"):
        found.plot(Path("plot.txt"))
    with pytest.raises(UsageError, match="some of these runs count steps and some"):
        find_runs([Path("runs")]).plot(Path("plot.png"))
    assert not Path("plot.txt").exists()
