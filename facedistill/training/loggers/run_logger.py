"""What a logger is: it is told of a run's start, its records and its end."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from facedistill.errors import UsageError
from facedistill.registry import Registry

Status = Literal["finished", "interrupted", "failed"]
"""How a run ended."""

PROJECT = "facedistill"
"""The project or experiment that runs are filed under where the service's own variables name none."""


class RunLogger(Protocol):
    """Takes a run's figures to somewhere besides the run folder."""

    def start(self, config: dict[str, Any], run_path: Path, resumed: bool) -> None:
        """The run begins, or goes on where it was interrupted.

        Args:
            config: what `config.yaml` holds.
            run_path: the run folder, which exists.
            resumed: whether it goes on; the logger goes on with the same run where its service allows that.
        """

    def log(self, record: dict[str, Any]) -> None:
        """Take one record, as `metrics.jsonl` holds it; "step" is its place on the x axis."""

    def finish(self, status: Status) -> None:
        """The run has ended."""


LOGGERS: Registry[Callable[[], RunLogger]] = Registry("logger")


def import_package(name: str) -> Any:
    """The package that a logger is named after and needs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"the logger {name} needs the package {name}, which cannot be imported ({error})",
            next_step=f"pip install 'facedistill[{name}]'",
        ) from error


def figures_of(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record but for its step; infinite ones and NaN, which not every service takes, are left out."""
    return {
        name: value
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots between the names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
