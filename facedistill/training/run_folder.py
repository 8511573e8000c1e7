"""The folder that every training command makes: enough to reproduce, resume and report the run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from facedistill.errors import ModelFileError, UsageError
from facedistill.files import write_atomically
from facedistill.launcher import launched
from facedistill.ranks import of_first
from facedistill.training.saved import BACKBONE, LAST, PARTIAL, has_state

CONFIG = "config.yaml"
LOCK = ".lock"
# What a run may have written before it saved its first state.
BEGUN = {CONFIG, "metrics.jsonl", "metrics.csv", "loggers.json", "tensorboard", PARTIAL}


class RunFolder:
    """`config.yaml`, `metrics.jsonl`, `metrics.csv`, `curves.png`, `last/`, `earlier/`; `best` if one was looked for.

    Of several processes, the first alone checks and writes.

    Args:
        path: the folder.
        overwrite: empty an earlier run, once this one begins.
        resume: "no"; "yes" to go on with an earlier run; "auto" to do so if there is one, and begin otherwise.

    Attributes:
        resumed: whether an earlier run is gone on with.

    Raises:
        UsageError: the folder holds something and neither was asked for, or there is nothing to resume, or the
            folder to be overwritten is not a run.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: str = "no") -> None:
        self.path = path
        if resume not in ("no", "yes", "auto"):
            raise UsageError(f"'{resume}' is none of yes, auto and no", place="--resume")
        if overwrite and resume != "no":
            raise UsageError("--overwrite and --resume exclude one another", place=path)
        if path.exists() and not path.is_dir():
            raise UsageError("the output is a file, and a folder is needed", place=path)
        there = path.is_dir() and has_state(path)
        if resume == "yes" and not there:
            raise UsageError(
                "there is no run to resume here",
                place=path,
                next_step="Use --resume auto to start one where there is none",
            )
        self.resumed = resume != "no" and there
        contents = {entry.name for entry in path.iterdir()} - {LOCK} if path.is_dir() else set()
        ours = is_run(path)
        # A run that was stopped before it saved anything holds nothing that would be lost.
        begun = resume == "auto" and ours and contents <= BEGUN
        occupied = launched().first and bool(contents) and not self.resumed
        if occupied and not (overwrite or begun):
            raise UsageError(
                "the output folder is not empty",
                place=path,
                next_step="Use --resume auto, --overwrite or another folder",
            )
        if occupied and overwrite and not ours:
            raise UsageError(
                "the folder to overwrite is not a run (it has no config.yaml of one), so it is left alone", place=path
            )
        self._earlier = occupied

    def agree(self) -> None:
        """Let the first process decide for all whether the run is resumed; all of them call this, once joined.

        Each has looked for itself, but on its own machine and at its own time.
        """
        self.resumed = of_first(self.resumed)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from training into the folder as well; given up by the system if this process dies.

        Raises:
            UsageError: another process does already.
        """
        if not launched().first:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / LOCK, blocking=False):
                yield
        except Timeout as error:
            raise UsageError(
                "another process is training into this folder", place=self.path, next_step="Wait for it, or stop it"
            ) from error

    @property
    def last_checkpoint(self) -> Path:
        """The weights as they were last saved."""
        return self.path / LAST / BACKBONE

    @property
    def best_checkpoint(self) -> Path:
        """The weights that did best on the benchmark that was followed."""
        return self.path / "best.safetensors"

    def corrupt_images(self, rank: int = 0) -> Path:
        """The list of images that a process could not decode, where there were any."""
        return self.path / (f"corrupt-{rank}.csv" if rank else "corrupt.csv")

    def write_config(self, config: dict[str, Any]) -> None:
        """Write what the run was asked for; only now is an earlier run emptied, since the call has proved sound."""
        if not launched().first:
            return
        if self._earlier:
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()
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

    def append_record(self, record: dict[str, Any]) -> None:
        """Add a record to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def write_records(self, records: list[dict[str, Any]]) -> None:
        """Write all records, as JSON lines and as CSV."""
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(self.path / "metrics.jsonl", lines.encode())
        columns = list(dict.fromkeys(name for record in records for name in record))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(records)
        write_atomically(self.path / "metrics.csv", table.getvalue().encode())


def is_run(path: Path) -> bool:
    """Whether a folder has the configuration of a run, and not that of some other program."""
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    # Runs of version 0.1 have the version at the top.
    return isinstance(config, dict) and (
        "facedistill" in config or (isinstance(config.get("run"), dict) and "facedistill" in config["run"])
    )
