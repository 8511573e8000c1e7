"""Trackio, which keeps runs on this machine or in a Space."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from facedistill.training.loggers.run_ids import keep_run_id, read_run_id
from facedistill.training.loggers.run_logger import LOGGERS, PROJECT, Status, figures_of, flatten, import_package


@LOGGERS.register(
    "trackio",
    summary="Trackio, on this machine unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says otherwise",
    source="Trackio documentation, trackio.init and Run.log",
)
class TrackioLogger:
    """One run of Trackio, which knows runs by their names: the run folder's, and some letters that make it unique."""

    def __init__(self) -> None:
        self._trackio = import_package("trackio")
        self._run: Any = None

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """Begin a run, or go on with the one whose name the run folder keeps."""
        kept = read_run_id(run_path, "trackio") if resumed else None
        name = kept or f"{run_path.resolve().name}-{uuid.uuid4().hex[:6]}"
        keep_run_id(run_path, "trackio", name)
        self._run = self._trackio.init(
            project=PROJECT, name=name, config=flatten(config), resume="never" if kept is None else "allow", embed=False
        )

    def log(self, record: dict[str, Any]) -> None:
        """Log the figures at the record's step."""
        self._run.log(figures_of(record), step=record["step"])

    def finish(self, status: Status) -> None:
        """End the run; Trackio keeps no status."""
        self._run.finish()
