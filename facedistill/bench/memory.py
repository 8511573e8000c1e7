"""How much memory a model takes: the peak of a process that opens it and embeds some crops."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from facedistill.errors import ModelFileError


def peak_memory(
    path: Path, *, batch: int = 1, color: str | None = None, mean: float | None = None, std: float | None = None
) -> int | None:
    """Bytes that a process of its own holds at its peak beyond what it holds before it opens the model.

    Args:
        path: as of `open_for_timing`.
        batch: crops a call.
        color: as of `load_embedder`, as are the following.
        mean: likewise.
        std: likewise.

    Returns:
        None where the system does not tell a process's memory.

    Raises:
        ModelFileError: the model cannot be run.
    """
    request = json.dumps({"path": str(path), "batch": batch, "color": color, "mean": mean, "std": std})
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "facedistill.bench.memory", request], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise ModelFileError(f"its memory cannot be measured ({last})", place=path)
    found: int | None = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure_here(request: dict[str, Any]) -> int | None:
    """The same of this process, which has to be fresh."""
    import numpy as np

    from facedistill.bench.latency import open_for_timing

    _forget_peak()
    before = _peak()
    path, batch = Path(request.pop("path")), request.pop("batch")
    embedder = open_for_timing(path, **request)
    size = embedder.preprocessing.size
    for _ in range(3):
        embedder.embed(np.zeros((batch, size, size, 3), dtype=np.uint8))
    after = _peak()
    return None if before is None or after is None else after - before


def _peak() -> int | None:
    """The most bytes that this process has held, since `_forget_peak` where that works; None where it is not told."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _forget_peak() -> None:
    """Let the peak begin at what is held now: importing may have held more than a small model will."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    print(json.dumps(measure_here(json.loads(sys.argv[1]))))
