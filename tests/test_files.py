from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from facedistill.files import file_sha256, force_to_disk, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folder_and_over_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "f.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["f.bin"]


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.bin"
    write_atomically(path, b"old")
    write = Path.write_bytes

    def half(target: Path, content: bytes) -> int:
        write(target, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new content")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f.bin"]


def test_an_interruption_before_the_renaming_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.bin"
    write_atomically(path, b"old")

    def interrupted(target: Path, new: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomically(path, b"newer")  # what was left behind is in nobody's way
    assert names(tmp_path) == ["f.bin"]


def test_files_and_folders_are_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (forced.append(os.fstat(descriptor).st_ino), fsync(descriptor)))
    path = tmp_path / "f"
    path.write_bytes(b"x")
    force_to_disk(path)
    force_to_disk(tmp_path)
    assert forced == [path.stat().st_ino, tmp_path.stat().st_ino]
    with pytest.raises(FileNotFoundError):
        force_to_disk(tmp_path / "none")


def test_a_system_that_forces_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    force_to_disk(tmp_path)
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with pytest.raises(OSError, match="Invalid"):
        force_to_disk(path)


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 3])
def test_sha256(size: int, tmp_path: Path) -> None:
    path = tmp_path / "f"
    content = bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(content[:size])
    assert file_sha256(path) == hashlib.sha256(content[:size]).hexdigest()
