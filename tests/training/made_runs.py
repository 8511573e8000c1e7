"""Run folders written by hand, in the layout of today and in that of version 0.1."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

NOW = 1_750_000_000.0
"""The time at which the tests look at the runs."""


def write_run(
    folder: Path, config: dict[str, Any], records: list[dict[str, Any]], *, age: float = 180.0, more: str = ""
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(record) + "\n" for record in records) + more)
    os.utime(metrics, (NOW - age, NOW - age))
    return folder


def flat_config(**options: Any) -> dict[str, Any]:
    facts = {
        "facedistill": "0.2.0",
        "command": "train-teacher",
        "backbone": {"name": "iresnet50", "embedding_size": 512, "width": 1.0},
        "data": {"images": 5000, "identities": 200, "fingerprint": "abcdef0123456789"},
    }
    return {"model": "iresnet50", "head": "arcface", "epochs": 4, "lr": 0.1, **options, "run": facts}


def nested_config(**options: Any) -> dict[str, Any]:
    return {
        "facedistill": "0.1.0",
        "command": "distill",
        "options": {"student": None, "method": "triplet", "epochs": 3, "lr": 0.05, **options},
        "backbone": {"name": "mobilefacenet", "embedding_size": 128, "width": 0.5},
        "data": {"images": 1200, "identities": 300, "fingerprint": "0123456789abcdef"},
        "teacher": {"name": "teachers/r50", "fingerprint": "aa"},
        "init": "start",
    }


def by_step(steps: int, *, per_epoch: int = 100, every: int = 50) -> list[dict[str, Any]]:
    """The accuracy is evaluated at the end of each epoch and is best at the end of the second."""
    records: list[dict[str, Any]] = []
    for step in range(every, steps + 1, every):
        record: dict[str, Any] = {"step": step, "epoch": -(-step // per_epoch), "loss": 100 / step}
        if step % per_epoch == 0:
            record |= {"accuracy": 0.9 - 0.01 * abs(step // per_epoch - 2), "accuracy_std": 0.01}
        records.append(record | {"images_per_second": 1234.5})
    return records


def by_epoch(epochs: int) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "loss": 1 / epoch, "images_per_second": 500.0} for epoch in range(1, epochs + 1)]
