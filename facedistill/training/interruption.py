"""Ctrl-C and SIGTERM: the first finishes the step and saves, the second leaves at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What a shell, a scheduler or an operator stops a program with.
SIGNALS = [signal.SIGINT, signal.SIGTERM]
# The exit status of a program that was interrupted.
INTERRUPTED = 130
# Seconds in which two signals are one request.
SAME_REQUEST = 1.0


class Interruption:
    """Whether somebody has asked to stop."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._tell = tell

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first request; leave without another word at the second."""
        now = time.monotonic()
        if self.asked:
            # Launchers send two at once; a person takes longer to ask again.
            if now - self._asked_at > SAME_REQUEST:
                os._exit(INTERRUPTED)
            return
        self.asked, self._asked_at = True, now
        if self._tell is not None:
            self._tell("stopping: the step is finished and the run saved first; once more leaves at once")


@contextmanager
def watch_for_interruption(tell: Callable[[str], None] | None = None) -> Iterator[Interruption]:
    """Take Ctrl-C and SIGTERM as a request to stop, for as long as this lasts.

    Only the main thread may do so; in another, signals stay what they were.

    Args:
        tell: told that the request was heard.
    """
    interruption = Interruption(tell)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before: dict[int, Any] = {number: signal.signal(number, interruption.handle) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
