"""MLflow Tracking."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from facedistill.training.loggers.run_ids import keep_run_id, read_run_id
from facedistill.training.loggers.run_logger import LOGGERS, PROJECT, Status, figures_of, flatten, import_package

# What every store that MLflow supports takes: parameters a request, and letters of a parameter's value.
PARAMETERS_AT_ONCE = 100
LONGEST_VALUE = 500
STATUSES: dict[Status, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@LOGGERS.register(
    "mlflow",
    summary="MLflow Tracking; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and its other variables hold",
    source="mlflow.org, MlflowClient",
)
class MlflowLogger:
    """One MLflow run, by the client rather than the active run, which belongs to a thread and to the caller."""

    def __init__(self) -> None:
        self._mlflow = import_package("mlflow")
        self._client: Any = None
        self._run_id = ""

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """Begin a run with the configuration as its parameters, or reopen the one whose id the run folder keeps."""
        self._client = self._mlflow.MlflowClient()
        kept = read_run_id(run_path, "mlflow") if resumed else None
        if kept is not None:
            self._client.update_run(kept, status="RUNNING")
            self._run_id = kept
            return
        run = self._client.create_run(self._experiment(), run_name=run_path.resolve().name)
        self._run_id = run.info.run_id
        keep_run_id(run_path, "mlflow", run.info.run_id)
        parameters = [
            self._mlflow.entities.Param(name, str(value)[:LONGEST_VALUE]) for name, value in flatten(config).items()
        ]
        for first in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self._client.log_batch(self._run_id, params=parameters[first : first + PARAMETERS_AT_ONCE])

    def log(self, record: dict[str, Any]) -> None:
        """Log the figures at the record's step."""
        now = int(1000 * time.time())
        metrics = [
            self._mlflow.entities.Metric(name, float(value), now, record["step"])
            for name, value in figures_of(record).items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, status: Status) -> None:
        """End the run as finished, killed or failed."""
        self._client.set_terminated(self._run_id, status=STATUSES[status])

    def _experiment(self) -> str:
        """The id of the experiment that the environment names, made where there is none."""
        if "MLFLOW_EXPERIMENT_ID" in os.environ:
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if experiment is None else experiment.experiment_id)
