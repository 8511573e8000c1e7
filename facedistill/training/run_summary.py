"""What a run folder tells of its run, whoever wrote it and however it ended."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from facedistill.errors import DataError
from facedistill.training.curves import is_number, steps_per_epoch

CONFIG, METRICS = "config.yaml", "metrics.jsonl"
# What the backbone tells better, since an option that was left out stands for another value.
_OF_THE_BACKBONE = ("model", "student", "width", "embedding_size")
# What says where things are or what is printed, and nothing of the run.
_BESIDE_THE_POINT = ("out", "json", "quiet", "overwrite", "resume", "config")


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Args:
        name: the folder, as it was found from where the search began.
        command: "train-teacher" or "distill".
        trained_for: the distillation method, or the head.
        backbone: its name, and its width where that is not 1.
        images: how many it is trained on.
        identities: how many people these show.
        options: option -> value, flat, with the facts of the backbone, the data and the teacher.
        records: as `metrics.jsonl` holds them.
        planned_epochs: how many it was started for.
        planned_steps: how many these are, None where nothing tells.
        written: when the last record was made, in seconds since 1970.
        damaged: how many lines of `metrics.jsonl` could not be read.
    """

    name: str
    command: str
    trained_for: str
    backbone: str
    images: int | None
    identities: int | None
    options: dict[str, Any] = field(repr=False)
    records: tuple[dict[str, Any], ...] = field(repr=False)
    planned_epochs: int | None
    planned_steps: int | None
    written: float
    damaged: int = 0

    @property
    def epoch(self) -> int | None:
        """The epoch of the last record."""
        return self._last_whole("epoch")

    @property
    def step(self) -> int | None:
        """The step of the last record, None in runs from before records had one."""
        return self._last_whole("step")

    @property
    def finished(self) -> bool | None:
        """Whether it did all that it was started for, or ran out of patience before; None where nothing tells."""
        if self._out_of_patience:
            return True
        if self.epoch is None:
            return False
        if self.step is None:
            return None if self.planned_epochs is None else self.epoch >= self.planned_epochs
        if self.planned_steps is not None:
            return self.step >= self.planned_steps
        # Within the first epoch nothing tells how long it is.
        return None if self.planned_epochs is None or self.epoch >= self.planned_epochs else False

    @property
    def best(self) -> dict[str, Any] | None:
        """The first record of the highest accuracy, None where there was no benchmark to follow."""
        judged = [record for record in self.records if is_number(record.get("accuracy"))]
        return max(judged, key=lambda record: record["accuracy"]) if judged else None

    def last(self, figure: str) -> float | None:
        """The last value of a figure, None where there is none."""
        for record in reversed(self.records):
            if is_number(record.get(figure)):
                return float(record[figure])
        return None

    def status(self, now: float | None = None) -> str:
        """Whether it is finished, and if not, how long ago the last record was made.

        A run that died cannot tell, and looks like one that is busy with its next record.
        """
        if self.finished:
            return "finished early" if self._out_of_patience and not self._at_the_end else "finished"
        age = short_time((time.time() if now is None else now) - self.written)
        begun = "not known whether finished" if self.finished is None else "unfinished"
        return f"{begun}, last record {age} ago" if self.records else f"begun {age} ago, no record yet"

    def to_dict(self, now: float | None = None) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "command": self.command,
            "trained_for": self.trained_for,
            "backbone": self.backbone,
            "images": self.images,
            "identities": self.identities,
            "epoch": self.epoch,
            "epochs": self.planned_epochs,
            "step": self.step,
            "steps": self.planned_steps,
            "finished": self.finished,
            "status": self.status(now),
            "written": self.written,
            "damaged_lines": self.damaged,
            "last": {name: self.last(name) for record in self.records[-1:] for name in record},
            "best": self.best,
            "options": self.options,
        }

    @property
    def _at_the_end(self) -> bool:
        return self.planned_steps is not None and self.step is not None and self.step >= self.planned_steps

    @property
    def _out_of_patience(self) -> bool:
        """Whether as many evaluations as the run had patience for were no better than the best one before them."""
        patience = self.options.get("patience")
        scores = [record["accuracy"] for record in self.records if is_number(record.get("accuracy"))]
        return isinstance(patience, int) and bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience

    def _last_whole(self, name: str) -> int | None:
        value = self.last(name)
        return None if value is None else int(value)


def short_time(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def read_run(folder: Path, *, name: str) -> RunSummary:
    """Read a run folder of this version or an older one.

    Lines of `metrics.jsonl` that a crash has left half-written are counted and left out.

    Raises:
        DataError: one of the two files cannot be read, or the configuration is no mapping.
    """
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        metrics = (folder / METRICS).read_text(encoding="utf-8", errors="replace")
        written = (folder / METRICS).stat().st_mtime
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"the run cannot be read ({str(error).partition(chr(10))[0]})", place=name) from error
    if not isinstance(config, dict):
        raise DataError("the run's configuration is not a mapping", place=f"{name}/{CONFIG}")
    records, damaged = read_records(metrics)
    facts, options = split_config(config)
    backbone, data, teacher = (mapping(facts.get(key)) for key in ("backbone", "data", "teacher"))
    width = backbone.get("width")
    options = {key: value for key, value in options.items() if key not in _BESIDE_THE_POINT}
    if backbone:
        options = {key: value for key, value in options.items() if key not in _OF_THE_BACKBONE}
        options |= {"backbone": backbone.get("name")}
        options |= {key: backbone[key] for key in ("width", "embedding_size") if key in backbone}
    if data:
        options["data"] = f"{data.get('images')} images ({str(data.get('fingerprint'))[:6]})"
    for key, value in (
        ("teacher", teacher.get("name")),
        ("init", facts.get("init")),
        ("processes", facts.get("processes")),
    ):
        if value is not None:
            options[key] = value
    epochs = options.get("epochs")
    epochs = epochs if isinstance(epochs, int) else None
    command = str(facts.get("command", "-"))
    return RunSummary(
        name=name,
        command=command,
        trained_for=str(options.get("method" if command == "distill" else "head", "-")),
        backbone=f"{backbone.get('name', '-')}" + ("" if width in (None, 1) else f" x {width:g}"),
        images=data.get("images"),
        identities=data.get("identities"),
        options=options,
        records=tuple(records),
        planned_epochs=epochs,
        planned_steps=plan_steps(facts, records, epochs),
        written=written,
        damaged=damaged,
    )


def read_records(text: str) -> tuple[list[dict[str, Any]], int]:
    """The records of `metrics.jsonl`, and how many of its lines are none."""
    records: list[dict[str, Any]] = []
    damaged = 0
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and (is_number(record.get("step")) or is_number(record.get("epoch"))):
            records.append(record)
        else:
            damaged += bool(line.strip())
    return records, damaged


def split_config(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and options: the facts under `run` and the options beside it, or in older runs the other way round."""
    if isinstance(config.get("options"), dict):
        facts = {key: value for key, value in config.items() if key != "options"}
        options = config["options"]
    else:
        facts = mapping(config.get("run"))
        options = {key: value for key, value in config.items() if key != "run"}
    return facts, {str(key).replace("-", "_"): value for key, value in options.items()}


def plan_steps(facts: dict[str, Any], records: list[dict[str, Any]], epochs: int | None) -> int | None:
    """Steps of the whole run: as the facts say, or as many epochs as long as those that have ended."""
    total = facts.get("total_steps")
    if isinstance(total, int):
        return total
    length = facts.get("steps_per_epoch", steps_per_epoch(records))
    if epochs is None or not isinstance(length, int | float):
        return None
    return round(length * epochs)


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else {}
