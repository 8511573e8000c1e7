"""Loggers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from facedistill.training.loggers.background import Background
from facedistill.training.loggers.run_logger import LOGGERS, RunLogger


def make_loggers(names: Sequence[str], *, note: Callable[[str], None] | None = None) -> list[RunLogger]:
    """The loggers of these names, each kept from stopping the training; to be called before any long work is done.

    Args:
        names: of `LOGGERS`; one that is named twice is made once.
        note: told where a logger fails.

    Raises:
        UsageError: there is no such logger, or its package is not installed.
    """
    return [Background(name, LOGGERS[name](), note=note) for name in dict.fromkeys(names)]
