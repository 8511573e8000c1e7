"""Weights & Biases."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from facedistill.training.loggers.run_ids import keep_run_id, read_run_id
from facedistill.training.loggers.run_logger import LOGGERS, PROJECT, Status, figures_of, import_package


@LOGGERS.register(
    "wandb",
    summary="Weights & Biases; WANDB_PROJECT, WANDB_NAME, WANDB_MODE=offline and its other variables hold",
    source="docs.wandb.ai, wandb.init and Run.log",
)
class WandbLogger:
    """One run of Weights & Biases; a resumed run goes on in it by its id."""

    def __init__(self) -> None:
        self._wandb = import_package("wandb")
        self._run: Any = None

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """Begin a run, or go on with the one whose id the run folder keeps."""
        kept = read_run_id(run_path, "wandb") if resumed else None
        name = kept or uuid.uuid4().hex[:12]
        keep_run_id(run_path, "wandb", name)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", run_path.resolve().name),
            id=name,
            resume="allow",
            dir=os.environ.get("WANDB_DIR", str(run_path)),
            config=config,
            # A resumed run may have other workers or another device than before.
            allow_val_change=True,
        )

    def log(self, record: dict[str, Any]) -> None:
        """Log the figures at the record's step. Steps before the last one that the service holds it passes over."""
        self._run.log(figures_of(record), step=record["step"])

    def finish(self, status: Status) -> None:
        """End the run; one that did not finish is marked as failed."""
        self._run.finish(exit_code=0 if status == "finished" else 1)
