"""PartialFC at a tenth of the classes against the full head, with a million made-up classes: steps a second and memory.

Each head has a process of its own, so that its peak of memory is its own too; what the process holds before the head
is made is taken off. A step is forward and backward of the head alone and an update by SGD with momentum. On a CUDA
device the memory is that of the device.

    python benchmarks/partial_fc.py --classes 1000000 --size 128 --batch 512
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from facedistill.heads import make_head


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(rate: float | None, classes: int, size: int, batch: int, steps: int) -> dict[str, float]:
    """Seconds of a step and bytes of one head; a rate of None is the full head."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = peak_bytes()
    head = make_head("cosface", size, classes, sample_rate=rate).to(device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    head.attach(optimizer)
    generator = torch.Generator().manual_seed(0)
    times = []
    for _ in range(steps + 1):
        embeddings = torch.randn(batch, size, generator=generator).to(device).requires_grad_()
        labels = torch.randint(0, classes, (batch,), generator=generator).to(device)
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        head(embeddings, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return {"seconds": statistics.median(times[1:]), "bytes": peak_bytes() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=128, help="Length of an embedding.")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--only", choices=("full", "sampled"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = (arguments.classes, arguments.size, arguments.batch, arguments.steps)
    if arguments.only:
        print(json.dumps(measure(None if arguments.only == "full" else arguments.rate, *sizes)))
        return
    found = {}
    for kind in ("full", "sampled"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", kind]
        found[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{kind}: {1 / found[kind]['seconds']:.2f} steps/s, {found[kind]['bytes'] / 1e9:.2f} GB "
            f"({arguments.classes} classes, {arguments.size}-d, batch {arguments.batch})",
            flush=True,
        )
    full, sampled = found["full"], found["sampled"]
    print(
        f"at rate {arguments.rate:g}: {full['seconds'] / sampled['seconds']:.1f} times the steps a second, "
        f"{sampled['bytes'] / full['bytes']:.3f} of the memory"
    )


if __name__ == "__main__":
    main()
