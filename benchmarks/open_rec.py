"""What opening a `.rec` of a million records takes; the limits are 2 s and 200 MB with an `.idx`.

Each opening has a process of its own, so that its peak of memory is its own too.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RECORDS = 1_000_000
PER_IDENTITY = 50
RUNS = 3
HEADER = [("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("id", "<u8"), ("id2", "<u8")]


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def packed(keys: np.ndarray, flag: int, labels: np.ndarray, tail: np.ndarray) -> bytes:
    """Records with 8 bytes after their header."""
    records = np.zeros(len(keys), dtype=[*HEADER, ("tail", tail.dtype, tail.shape[1:])])
    records["magic"], records["length"], records["flag"] = 0xCED7230A, 32, flag
    records["label"], records["id"], records["tail"] = labels, keys, tail
    return records.tobytes()


def write(path: Path, identity_records: bool) -> None:
    """A file of `RECORDS` records of 40 bytes, and its index."""
    identities = RECORDS // (PER_IDENTITY + 1) if identity_records else 0
    images = RECORDS - identities - 1 if identity_records else RECORDS
    keys = np.arange(images) + identity_records
    labels = np.minimum(np.arange(images) // PER_IDENTITY, max(identities, images // PER_IDENTITY) - 1)
    parts = [packed(keys, 0, labels, np.full((images, 8), 7, dtype=np.uint8))]
    if identity_records:
        ends = np.array([[images + 1, images + 1 + identities]], dtype="<f4")
        begins = np.searchsorted(labels, np.arange(identities + 1)).astype("<f4") + 1
        ranges = np.stack([begins[:-1], begins[1:]], axis=1)
        parts.insert(0, packed(np.zeros(1), 2, np.zeros(1), ends))
        parts.append(packed(images + 1 + np.arange(identities), 2, np.zeros(identities), ranges))
    path.write_bytes(b"".join(parts))
    path.with_suffix(".idx").write_text("".join(f"{key}\t{40 * key}\n" for key in range(RECORDS)))


def open_it(path: Path) -> None:
    """Open the file in this process and print the seconds and the megabytes it took."""
    from facedistill.data.records.dataset import RecDataset

    before = peak_bytes()
    started = time.perf_counter()
    dataset = RecDataset(path)
    seconds = time.perf_counter() - started
    print(f"{seconds:.2f} s, {(peak_bytes() - before) / 1e6:.0f} MB, {len(dataset)} images")


def main() -> None:
    """Make the files, open each some times, with and without its index."""
    with tempfile.TemporaryDirectory() as folder:
        for identity_records in (True, False):
            path = Path(folder) / ("with.rec" if identity_records else "without.rec")
            write(path, identity_records)
            for index in (True, False):
                if not index:
                    path.with_suffix(".idx").unlink()
                for _ in range(RUNS):
                    command = [sys.executable, __file__, str(path)]
                    result = subprocess.run(command, check=True, capture_output=True, text=True)
                    print(f"{path.stem} identity records, {'.idx' if index else 'scanned'}: {result.stdout.strip()}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        open_it(Path(sys.argv[1]))
    else:
        main()
