"""How a test begins a run of two processes."""

from __future__ import annotations

import os
import sys

SMALL = ["--width", "0.25", "--input-size", "32", "--warmup-epochs", "0", "--device", "cpu"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
COMMAND = ["-m", "facedistill_cli"]


def environment(**more: str) -> dict[str, str]:
    """That of this process, but for the width of the terminal and one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}
