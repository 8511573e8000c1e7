from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from facedistill.data.images import write_image


def test_codecs_are_silent_and_our_own_words_are_not(tmp_path: Path) -> None:
    """A JPEG whose middle is gone makes libjpeg itself write to the screen."""
    photo = tmp_path / "photos" / "half.jpg"
    write_image(photo, np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8))
    content = photo.read_bytes()
    photo.write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    command = [sys.executable, "-m", "facedistill_cli"]
    arguments = ["align", str(tmp_path / "photos"), str(tmp_path / "crops"), "--quiet", "--device", "cpu"]
    quiet = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert "Corrupt JPEG" not in quiet.stderr
    assert "no photo gave a crop" in quiet.stderr
    assert quiet.returncode == 1
    loud = subprocess.run([*command, "--debug", *arguments, "--overwrite"], capture_output=True, text=True, check=False)
    assert "Corrupt JPEG" in loud.stderr


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "o\udce9"
    write_image(tmp_path / "photos" / "a.png", np.zeros((80, 80, 3), np.uint8))
    command = [sys.executable, "-m", "facedistill_cli", "align", tmp_path / "photos", folder, "--device", "cpu"]
    environment = {"PYTHONIOENCODING": "utf-8:strict", "PATH": "/usr/bin:/bin"}
    outcome = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert b"UnicodeEncodeError" not in outcome.stderr
    assert b"They are in" in outcome.stdout
    assert outcome.returncode == 1
