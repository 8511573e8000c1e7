"""TensorBoard event files in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from facedistill.training.loggers.run_logger import LOGGERS, Status, figures_of, import_package


@LOGGERS.register(
    "tensorboard",
    summary="event files in RUN/tensorboard; look at them with tensorboard --logdir RUN",
    source="tensorboard.dev documentation, torch.utils.tensorboard",
)
class TensorBoardLogger:
    """One scalar a figure, and the configuration as text."""

    def __init__(self) -> None:
        import_package("tensorboard")
        self._writer: Any = None
        self._folder = Path()
        self._config = ""
        self._resumed = False

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """Remember where the event files go; the first record opens them."""
        self._folder = run_path / "tensorboard"
        self._config = yaml.safe_dump(config, sort_keys=False)
        self._resumed = resumed

    def log(self, record: dict[str, Any]) -> None:
        """Write the record's figures at its step."""
        step = record["step"]
        if self._writer is None:
            self._writer = self._open(step)
        for name, value in figures_of(record).items():
            self._writer.add_scalar(name, value, step)
        # A record is rare; who watches a run wants it now rather than in two minutes.
        self._writer.flush()

    def finish(self, status: Status) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        # Of the records that the interrupted run made after its last checkpoint, this one is the first to be made
        # again, so TensorBoard forgets those from its step on.
        writer: Any = SummaryWriter(str(self._folder), purge_step=step if self._resumed else None)
        if not self._resumed:
            writer.add_text("config", "".join(f"    {line}\n" for line in self._config.splitlines()))
        return writer
