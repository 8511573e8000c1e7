"""Keep a logger from stopping the training, or slowing it down."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facedistill.counted import counted
from facedistill.errors import FacedistillError, UsageError
from facedistill.shown_name import shown_name
from facedistill.training.loggers.run_logger import RunLogger, Status

PATIENCE = 60.0
"""Seconds that the end of a run waits for a logger to take what it has not taken yet (ours)."""


class Background:
    """A logger in a thread of its own.

    A service that is away may raise, or try again for many minutes; meanwhile the other processes of a distributed
    run would give up waiting for this one. The records are in the run folder in any case.

    Args:
        name: what the logger is called in messages.
        logger: the logger.
        note: told, once and in the caller's own thread, that a record was not taken, and at the end how many were not.
        patience: seconds that `finish` waits.
    """

    def __init__(
        self, name: str, logger: RunLogger, *, note: Callable[[str], None] | None = None, patience: float = PATIENCE
    ) -> None:
        self.name = name
        self._logger = logger
        self._note = note
        self._patience = patience
        self._waiting: queue.SimpleQueue[dict[str, Any] | Status] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given = self._missed = 0

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """Start the logger.

        Raises:
            UsageError: it cannot start, and nothing would be lost by stopping here. A run that is resumed, maybe by a
                scheduler at night, goes on without it, and a note says so.
        """
        try:
            self._logger.start(config, run_path, resumed)
        except Exception as error:  # whatever a service's client raises
            if not resumed:
                if isinstance(error, FacedistillError):
                    raise
                raise UsageError(
                    f"the logger {self.name} cannot start ({_reason(error)})",
                    next_step="Set it up (log in, or choose its offline mode), or leave it out",
                ) from error
            self._messages.put(f"the logger {self.name} cannot start ({_reason(error)}); the run goes on without it")
            self._tell()
            return
        self._thread = threading.Thread(target=self._work, name=f"logger {self.name}", daemon=True)
        self._thread.start()

    def log(self, record: dict[str, Any]) -> None:
        """Hand the record over, without waiting for it to be taken."""
        if self._thread is not None:
            self._given += 1
            self._waiting.put(dict(record))
        self._tell()

    def finish(self, status: Status) -> None:
        """Wait for the logger to take what is left and to end the run, but not for ever."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.put(status)
        thread.join(self._patience)
        if thread.is_alive():
            self._messages.put(f"the logger {self.name} does not come to an end and is left behind")
        if self._missed:
            records = counted(self._given, "record", "records")
            self._messages.put(f"the logger {self.name} missed {self._missed} of {records}; metrics.jsonl has them all")
        self._tell()

    def _work(self) -> None:
        while True:
            item = self._waiting.get()
            try:
                if isinstance(item, str):
                    self._logger.finish(item)
                    return
                self._logger.log(item)
            except Exception as error:  # whatever a service's client raises
                if isinstance(item, str):
                    self._messages.put(f"the logger {self.name} could not end its run ({_reason(error)})")
                    return
                self._missed += 1
                if self._missed == 1:
                    self._messages.put(
                        f"the logger {self.name} did not take the record of step {item.get('step')} "
                        f"({_reason(error)}); training goes on, and metrics.jsonl has all records"
                    )

    def _tell(self) -> None:
        while not self._messages.empty():
            message = self._messages.get()
            if self._note is not None:
                self._note(message)


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {shown_name(text)}" if text else type(error).__name__
