from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from facedistill.errors import UsageError
from facedistill.training.loggers import Background


class Recorder:
    """Keeps what it is told, and fails where it is told to."""

    def __init__(self, *, fail_at: frozenset[int] = frozenset(), fail_start: bool = False, fail_end: bool = False):
        self.taken: list[Any] = []
        self.threads: set[int] = set()
        self._fail_at, self._fail_start, self._fail_end = fail_at, fail_start, fail_end

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        if self._fail_start:
            raise ConnectionError("no route to host\nand a long story")
        self.taken.append(("start", config, resumed))

    def log(self, record: dict[str, Any]) -> None:
        self.threads.add(threading.get_ident())
        if record["step"] in self._fail_at:
            raise ConnectionError
        self.taken.append(record)

    def finish(self, status: str) -> None:
        if self._fail_end:
            raise OSError("disk full")
        self.taken.append(status)


def run(inner: Any, *, resumed: bool = False, patience: float = 10.0) -> list[str]:
    notes: list[str] = []
    logger = Background("wandb", inner, note=notes.append, patience=patience)
    logger.start({"lr": 0.1}, Path("run"), resumed)
    for step in (1, 2, 3):
        record = {"step": step}
        logger.log(record)
        record["accuracy"] = 0.5  # what the loop does with its record later does not reach the logger
    logger.finish("finished")
    return notes


def test_all_is_taken_in_order_by_another_thread() -> None:
    inner = Recorder()
    assert run(inner) == []
    assert inner.taken == [("start", {"lr": 0.1}, False), {"step": 1}, {"step": 2}, {"step": 3}, "finished"]
    assert threading.get_ident() not in inner.threads
    assert len(inner.threads) == 1


def test_a_failure_is_told_once_and_the_rest_is_taken() -> None:
    inner = Recorder(fail_at=frozenset({1, 2}))
    notes = run(inner)
    assert notes == [
        "the logger wandb did not take the record of step 1 (ConnectionError); training goes on, and metrics.jsonl has "
        "all records",
        "the logger wandb missed 2 of 3 records; metrics.jsonl has them all",
    ]
    assert inner.taken[1:] == [{"step": 3}, "finished"]


def test_a_logger_that_hangs_holds_up_nobody() -> None:
    release = threading.Event()

    class Hanging(Recorder):
        def log(self, record: dict[str, Any]) -> None:
            release.wait(30)

    notes = run(Hanging(), patience=0.05)
    release.set()
    assert notes == ["the logger wandb does not come to an end and is left behind"]


def test_a_logger_that_cannot_end_its_run() -> None:
    assert run(Recorder(fail_end=True)) == ["the logger wandb could not end its run (OSError: disk full)"]


def test_a_new_run_does_not_begin_without_its_logger_and_a_resumed_one_goes_on() -> None:
    with pytest.raises(UsageError, match=r"wandb cannot start \(ConnectionError: no route to host\)\. Set it up"):
        run(Recorder(fail_start=True))
    inner = Recorder(fail_start=True)
    assert run(inner, resumed=True) == [
        "the logger wandb cannot start (ConnectionError: no route to host); the run goes on without it"
    ]
    assert inner.taken == []


def test_nobody_has_to_listen() -> None:
    logger = Background("wandb", Recorder(fail_at=frozenset({1})))
    logger.start({}, Path("run"), False)
    logger.log({"step": 1})
    logger.finish("failed")
    logger.finish("failed")  # a second end, as from a finally, changes nothing
