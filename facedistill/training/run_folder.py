"""The folder that every training command makes: enough to reproduce, resume and report the run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from facedistill.checkpoint import Checkpoint, save_checkpoint
from facedistill.errors import ModelFileError, UsageError
from facedistill.files import write_atomically

CONFIG = "config.yaml"


class RunFolder:
    """`config.yaml`, `metrics.jsonl`, `metrics.csv`, `curves.png`, `last/`; `best` if a benchmark was followed.

    Args:
        path: the folder.
        overwrite: empty an earlier run, once this one begins.
        resume: go on with an earlier run.

    Raises:
        UsageError: the folder holds something and neither was asked for, or there is nothing to resume, or the
            folder to be overwritten is not a run.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        if overwrite and resume:
            raise UsageError("--overwrite and --resume exclude one another", place=path)
        if path.exists() and not path.is_dir():
            raise UsageError("the output is a file, and a folder is needed", place=path)
        occupied = path.is_dir() and any(path.iterdir())
        if resume and not self.state_file.is_file():
            raise UsageError("there is no run to resume here", place=path, next_step="Leave --resume out to start one")
        if occupied and not (overwrite or resume):
            raise UsageError(
                "the output folder is not empty", place=path, next_step="Use --resume, --overwrite or another folder"
            )
        if occupied and overwrite and not (path / CONFIG).is_file():
            raise UsageError(
                "the folder to overwrite is not a run (it has no config.yaml), so it is left alone", place=path
            )
        self._earlier = occupied and overwrite

    @property
    def state_file(self) -> Path:
        """What a run is resumed from."""
        return self.path / "last" / "state.pt"

    @property
    def last_checkpoint(self) -> Path:
        """The weights after the last finished epoch."""
        return self.path / "last" / "backbone.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        """The weights of the epoch that did best on the benchmark that was followed."""
        return self.path / "best.safetensors"

    @property
    def corrupt_images(self) -> Path:
        """The list of images that could not be decoded, where there were any."""
        return self.path / "corrupt.csv"

    def write_config(self, config: dict[str, Any]) -> None:
        """Write what the run was asked for; only now is an earlier run emptied, since the call has proved sound."""
        if self._earlier:
            shutil.rmtree(self.path)
            self._earlier = False
        write_atomically(self.path / CONFIG, yaml.safe_dump(config, sort_keys=False).encode())

    def read_config(self) -> dict[str, Any]:
        """What an earlier run was asked for; ModelFileError where the file is damaged."""
        try:
            config = yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ModelFileError(f"the run's configuration cannot be read ({error})", place=self.path) from error
        if not isinstance(config, dict):
            raise ModelFileError("the run's configuration is not a mapping", place=self.path / CONFIG)
        return config

    def write_records(self, records: list[dict[str, Any]]) -> None:
        """Write the epochs' records as JSON lines and as CSV."""
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(self.path / "metrics.jsonl", lines.encode())
        columns = list(dict.fromkeys(name for record in records for name in record))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(records)
        write_atomically(self.path / "metrics.csv", table.getvalue().encode())

    def save_state(self, checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        """Write the last epoch's weights, and all that a resumed run needs, each file atomically."""
        save_checkpoint(self.last_checkpoint, checkpoint)
        partial = self.state_file.with_name(".state.pt.partial")
        torch.save(state, partial)
        partial.replace(self.state_file)

    def load_state(self) -> dict[str, Any]:
        """What `save_state` wrote; ModelFileError where it cannot be read."""
        try:
            state: dict[str, Any] = torch.load(self.state_file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ModelFileError(f"the saved state cannot be read ({error})", place=self.state_file) from error
        return state
