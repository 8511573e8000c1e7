"""The loggers of services, against modules that take what the services document and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from facedistill.errors import UsageError
from facedistill.training.loggers import LOGGERS, RunLogger, make_loggers

CONFIG = {"lr": 0.1, "head": "arcface", "width": None, "run": {"backbone": {"name": "iresnet50"}}}
FIRST = {"step": 500, "epoch": 1, "loss": 2.5, "note": "text", "gradient_norm": float("inf"), "accuracy": None}
SECOND = {"step": 1000, "epoch": 2, "loss": 2.0, "accuracy": 0.75}


def run_once(name: str, run: Path, *, resumed: bool, status: Any = "finished") -> None:
    notes: list[str] = []
    (logger,) = make_loggers([name], note=notes.append)
    logger.start(CONFIG, run, resumed)
    logger.log(FIRST)
    logger.log(SECOND)
    logger.finish(status)
    assert notes == []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_DIR", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "my run"
    path.mkdir()
    return path


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of wandb.init, Run.log and Run.finish (wandb 0.31)."""
    calls: list[Any] = []

    class Run:
        def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
            calls.append(("log", step, data))

        def finish(self, exit_code: int | None = None) -> None:
            calls.append(("finish", exit_code))

    def init(
        entity: str | None = None,
        project: str | None = None,
        dir: str | None = None,  # noqa: A002
        id: str | None = None,  # noqa: A002
        name: str | None = None,
        notes: str | None = None,
        tags: list[str] | None = None,
        config: dict[str, Any] | None = None,
        allow_val_change: bool | None = None,
        resume: str | None = None,
    ) -> Run:
        calls.append({"project": project, "dir": dir, "id": id, "name": name, "config": config, "resume": resume})
        return Run()

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_wandb(wandb: list[Any], run: Path) -> None:
    run_once("wandb", run, resumed=False, status="interrupted")
    name = json.loads((run / "loggers.json").read_text())["wandb"]
    assert wandb == [
        {
            "project": "facedistill", "dir": str(run), "id": name, "name": "my run", "config": CONFIG,
            "resume": "allow",
        },
        ("log", 500, {"epoch": 1, "loss": 2.5}),
        ("log", 1000, {"epoch": 2, "loss": 2.0, "accuracy": 0.75}),
        ("finish", 1),
    ]  # fmt: skip
    run_once("wandb", run, resumed=True)
    assert wandb[4]["id"] == name
    assert wandb[-1] == ("finish", 0)
    run_once("wandb", run, resumed=False)
    assert wandb[8]["id"] != name


def test_the_variables_of_wandb_hold(wandb: list[Any], run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "faces")
    monkeypatch.setenv("WANDB_NAME", "mine")
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    run_once("wandb", run, resumed=False)
    assert (wandb[0]["project"], wandb[0]["name"], wandb[0]["dir"]) == ("faces", "mine", "elsewhere")


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of MlflowClient's methods (MLflow 3.17)."""
    calls: list[Any] = []

    class MlflowClient:
        experiments: dict[str, str] = {}  # noqa: RUF012

        def get_experiment_by_name(self, name: str) -> Any:
            there = self.experiments.get(name)
            return None if there is None else SimpleNamespace(experiment_id=there)

        def create_experiment(
            self, name: str, artifact_location: str | None = None, tags: dict[str, Any] | None = None
        ) -> str:
            calls.append(("create_experiment", name))
            self.experiments[name] = "7"
            return "7"

        def create_run(
            self,
            experiment_id: str,
            start_time: int | None = None,
            tags: dict[str, Any] | None = None,
            run_name: str | None = None,
        ) -> Any:
            calls.append(("create_run", experiment_id, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

        def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
            calls.append(("update_run", run_id, status))

        def log_batch(
            self,
            run_id: str,
            metrics: list[Any] = [],  # noqa: B006
            params: list[Any] = [],  # noqa: B006
            tags: list[Any] = [],  # noqa: B006
            synchronous: bool | None = None,
        ) -> None:
            assert len(params) <= 100
            calls.append(("params", run_id, params) if params else ("metrics", run_id, metrics))

        def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
            calls.append(("set_terminated", run_id, status))

    def param(key: str, value: str) -> tuple[str, str]:
        assert len(value) <= 500
        return (key, value)

    def metric(key: str, value: float, timestamp: int, step: int) -> tuple[str, float, int]:
        assert timestamp > 1e12  # milliseconds
        return (key, value, step)

    module = ModuleType("mlflow")
    module.MlflowClient = MlflowClient  # type: ignore[attr-defined]
    module.entities = SimpleNamespace(Param=param, Metric=metric)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return calls


def test_mlflow(mlflow: list[Any], run: Path) -> None:
    run_once("mlflow", run, resumed=False, status="interrupted")
    figures = [
        ("metrics", "abc", [("epoch", 1.0, 500), ("loss", 2.5, 500)]),
        ("metrics", "abc", [("epoch", 2.0, 1000), ("loss", 2.0, 1000), ("accuracy", 0.75, 1000)]),
    ]
    parameters = [("lr", "0.1"), ("head", "arcface"), ("width", "None"), ("run.backbone.name", "iresnet50")]
    assert mlflow == [
        ("create_experiment", "facedistill"),
        ("create_run", "7", "my run"),
        ("params", "abc", parameters),
        *figures,
        ("set_terminated", "abc", "KILLED"),
    ]
    mlflow.clear()
    run_once("mlflow", run, resumed=True)
    assert mlflow == [("update_run", "abc", "RUNNING"), *figures, ("set_terminated", "abc", "FINISHED")]
    mlflow.clear()
    run_once("mlflow", run, resumed=False, status="failed")
    assert mlflow[0] == ("create_run", "7", "my run")  # the experiment is there already
    assert mlflow[-1] == ("set_terminated", "abc", "FAILED")


def test_the_variables_of_mlflow_hold_and_long_values_are_cut(
    mlflow: list[Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "faces")
    (logger,) = make_loggers(["mlflow"])
    logger.start({f"option{number}": "x" * 900 for number in range(150)}, run, False)
    assert mlflow[0] == ("create_experiment", "faces")
    assert [len(call[2]) for call in mlflow if call[0] == "params"] == [100, 50]
    logger.finish("finished")
    mlflow.clear()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "31")
    run_once("mlflow", run, resumed=False)
    assert mlflow[0] == ("create_run", "31", "my run")


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of trackio.init, Run.log and Run.finish (Trackio 0.43)."""
    calls: list[Any] = []

    class Run:
        def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
            assert not {"project", "run", "timestamp", "step", "time", "metrics"} & set(metrics)
            calls.append(("log", step, metrics))

        def finish(self) -> None:
            calls.append("finish")

    def init(
        project: str,
        name: str | None = None,
        space_id: str | None = None,
        config: dict[str, Any] | None = None,
        resume: str = "never",
        embed: bool = True,
    ) -> Run:
        calls.append({"project": project, "name": name, "config": config, "resume": resume})
        return Run()

    module = ModuleType("trackio")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", module)
    return calls


def test_trackio(trackio: list[Any], run: Path) -> None:
    run_once("trackio", run, resumed=False)
    name = trackio[0]["name"]
    assert name.startswith("my run-")
    assert trackio == [
        {
            "project": "facedistill",
            "name": name,
            "config": {"lr": 0.1, "head": "arcface", "width": None, "run.backbone.name": "iresnet50"},
            "resume": "never",
        },
        ("log", 500, {"epoch": 1, "loss": 2.5}),
        ("log", 1000, {"epoch": 2, "loss": 2.0, "accuracy": 0.75}),
        "finish",
    ]
    run_once("trackio", run, resumed=True)
    assert (trackio[4]["name"], trackio[4]["resume"]) == (name, "allow")


@pytest.mark.parametrize("kept", ["nonsense", "[]", '{"wandb": 5}'])
def test_a_damaged_list_of_run_ids_begins_a_new_run(wandb: list[Any], run: Path, kept: str) -> None:
    (run / "loggers.json").write_text(kept)
    run_once("wandb", run, resumed=True)
    assert json.loads((run / "loggers.json").read_text())["wandb"] == wandb[0]["id"]


def test_services_keep_their_ids_beside_one_another(wandb: list[Any], mlflow: list[Any], run: Path) -> None:
    run_once("wandb", run, resumed=False)
    run_once("mlflow", run, resumed=False)
    assert json.loads((run / "loggers.json").read_text()) == {"wandb": wandb[0]["id"], "mlflow": "abc"}


@pytest.mark.parametrize("name", [entry.name for entry in LOGGERS])
def test_a_missing_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"the logger {name} needs .* pip install 'facedistill\[{name}\]'"):
        make_loggers([name])


def test_names(wandb: list[Any]) -> None:
    with pytest.raises(UsageError, match=r"no logger called 'wanbd'. Did you mean 'wandb'\?"):
        make_loggers(["wandb", "wanbd"])
    assert len(make_loggers(["wandb", "wandb"])) == 1
    assert make_loggers([]) == []
    loggers: list[RunLogger] = [LOGGERS["wandb"]()]
    assert loggers
