"""How long `facedistill --help` takes, as a multiple of importing typer and rich; the limit is 4."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
BASE = [sys.executable, "-c", "import typer, rich"]
HELP = [sys.executable, "-m", "facedistill_cli", "--help"]


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Run both in turn, so that a change of the machine's speed meets both, and print the ratio of each pair."""
    seconds(BASE), seconds(HELP)
    ratios = sorted(seconds(HELP) / seconds(BASE) for _ in range(RUNS))
    print(f"--help / import: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
