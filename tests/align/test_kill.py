"""Real processes, killed by the system while they align, and resumed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from facedistill.align.table import read_faces
from facedistill.data.images import write_image


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(photos: Path, out: Path) -> list[str]:
    options = ["--resume", "--workers", "2", "--quiet", "--device", "cpu"]
    return [sys.executable, "-m", "facedistill_cli", "align", str(photos), str(out), *options]


def kill_and_resume(photos: Path, folder: Path, *, kills: int, seed: int) -> int:
    """Align once undisturbed and once with kills at random moments, and compare; gives how many kills hit the work."""
    started = time.monotonic()
    subprocess.run(command(photos, folder / "whole"), check=True)
    longest = time.monotonic() - started
    rng = random.Random(seed)
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen(command(photos, folder / "killed"))
        # Short enough that all of them find work left to do.
        time.sleep(rng.uniform(0.3, 0.3 + 1.5 * longest / kills))
        process.kill()
        hits += process.wait() == -signal.SIGKILL
        rows = list(read_faces(folder / "killed")) if (folder / "killed" / "align-report.json").is_file() else []
        assert len({row.crop for row in rows}) == len(rows)
    subprocess.run(command(photos, folder / "killed"), check=True)
    assert files(folder / "killed") == files(folder / "whole")
    return hits


def test_killed_at_random_moments(tmp_path: Path) -> None:
    portrait = np.asarray(skimage.data.astronaut())[:300, 70:370]
    rng = np.random.default_rng(0)
    for index in range(150):
        left, top = rng.integers(0, 60, 2)
        part = cv2.resize(portrait[top : top + 240, left : left + 240], (150, 150), interpolation=cv2.INTER_AREA)
        write_image(tmp_path / "photos" / str(index // 10) / f"{index}.jpg", np.asarray(part, np.uint8))
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"x")
    assert kill_and_resume(tmp_path / "photos", tmp_path, kills=3, seed=1) >= 1


@pytest.mark.realdata
@pytest.mark.slow
def test_killed_ten_times_on_real_photos(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "data" / "lfw" / "raw"
    for person in sorted(source.iterdir())[:1000]:
        for photo in person.iterdir():
            place = tmp_path / "photos" / person.name / photo.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(photo.read_bytes())
    assert kill_and_resume(tmp_path / "photos", tmp_path, kills=10, seed=2) >= 8
