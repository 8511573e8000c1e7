"""By what name a service knows a run, kept in the run folder so that a resumed run goes on under it."""

from __future__ import annotations

import json
from pathlib import Path

from facedistill.files import write_atomically

FILE = "loggers.json"


def read_run_id(run_path: Path, service: str) -> str | None:
    """What `keep_run_id` kept; None where there is nothing, or nothing that can be read."""
    name = _read(run_path).get(service)
    return name if isinstance(name, str) else None


def keep_run_id(run_path: Path, service: str, name: str) -> None:
    """Write down by what name `service` knows the run, beside those of other services."""
    names = {**_read(run_path), service: name}
    write_atomically(run_path / FILE, (json.dumps(names, indent=2) + "\n").encode())


def _read(run_path: Path) -> dict[str, object]:
    try:
        names = json.loads((run_path / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return names if isinstance(names, dict) else {}
