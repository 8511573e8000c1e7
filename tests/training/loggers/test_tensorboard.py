from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facedistill.training.loggers import make_loggers

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

CONFIG = {"lr": 0.1, "run": {"command": "distill"}}


def log(run: Path, records: list[dict[str, Any]], *, resumed: bool = False) -> None:
    notes: list[str] = []
    (logger,) = make_loggers(["tensorboard"], note=notes.append)
    logger.start(CONFIG, run, resumed)
    for record in records:
        logger.log(record)
    logger.finish("finished")
    assert notes == []


def read(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = event_accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    return {tag: [(e.step, round(e.value, 6)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_figures_stand_at_their_steps(tmp_path: Path) -> None:
    log(
        tmp_path,
        [
            {"step": 500, "epoch": 1, "loss": 2.5, "gradient_norm": float("nan")},
            {"step": 900, "epoch": 1, "loss": 2.0, "accuracy": 0.75, "gradient_norm": 3.0},
        ],
    )
    assert read(tmp_path) == {
        "epoch": [(500, 1.0), (900, 1.0)],
        "loss": [(500, 2.5), (900, 2.0)],
        "accuracy": [(900, 0.75)],
        "gradient_norm": [(900, 3.0)],
    }
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (text,) = events.Tensors("config/text_summary")
    assert b"    lr: 0.1\n    run:\n      command: distill\n" in text.tensor_proto.string_val[0]


def test_what_is_done_again_after_an_interruption_stands_there_once(tmp_path: Path) -> None:
    log(tmp_path, [{"step": step, "loss": 1.0} for step in (100, 200, 300)])
    # The last checkpoint was of step 150, and the second time everything went differently.
    log(tmp_path, [{"step": step, "loss": 0.5} for step in (200, 300, 400)], resumed=True)
    assert read(tmp_path) == {"loss": [(100, 1.0), (200, 0.5), (300, 0.5), (400, 0.5)]}


def test_a_run_of_no_record_leaves_no_file(tmp_path: Path) -> None:
    log(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
