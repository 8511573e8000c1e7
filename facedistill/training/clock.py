"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from facedistill.ranks import ranks


class Clock:
    """Where the time since the last record went."""

    def __init__(self) -> None:
        self.images = 0
        self._started = time.perf_counter()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens in here as waiting for images."""
        asked = time.perf_counter()
        yield
        self._waited += time.perf_counter() - asked

    @contextmanager
    def excluding(self) -> Iterator[None]:
        """Do not count what happens in here."""
        began = time.perf_counter()
        yield
        self._started += time.perf_counter() - began

    def begin(self) -> None:
        """Begin anew where nothing was done yet, so that what came before the first step does not count."""
        if not self.images:
            self._started = time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Images a second over all processes, and the share of the time in which they were waited for."""
        seconds = max(1e-9, time.perf_counter() - self._started)
        return {
            "images_per_second": round(self.images * ranks() / seconds, 1),
            "waiting_for_images": round(self._waited / seconds, 4),
        }
