from __future__ import annotations

import errno
from pathlib import Path

import pytest

from facedistill.data.conversion.draft import whole_or_nothing
from facedistill.data.conversion.target import MARKER, Target
from facedistill.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Target, content: str, error: DataError | None = None) -> None:
    """Write a folder with one file; then fail, if told so."""
    with whole_or_nothing(target) as draft:
        draft.mkdir()
        (draft / "file").write_text(content)
        if error is not None:
            raise DataError(error.cause, place=draft / str(error.place), next_step=error.next_step) from error.__cause__


def test_what_was_written_takes_the_place(tmp_path: Path) -> None:
    for content in ("old", "new"):
        write(Target(tmp_path / "a" / "out", "folder"), content)
    assert (tmp_path / "a" / "out" / "file").read_text() == "new"
    assert names(tmp_path / "a" / "out") == [MARKER, "file"]
    assert names(tmp_path / "a") == ["out"]


@pytest.mark.parametrize("name", ["replaced", "lock", "new"])
def test_a_result_may_be_called_as_what_lies_beside_it(tmp_path: Path, name: str) -> None:
    for content in ("old", "new"):
        write(Target(tmp_path / name, "folder"), content)
    assert (tmp_path / name / "file").read_text() == "new"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left"),
            r"it cannot be written (No space left). Free some space; nothing was left behind",
        ),
        (
            OSError(errno.EFBIG, "File too large"),
            r"it cannot be written (File too large). Choose another place; nothing was left behind",
        ),
    ],
)
def test_the_place_of_a_writing_error(tmp_path: Path, error: OSError, message: str) -> None:
    out = tmp_path / "deep" / "er" / "out"
    with pytest.raises(DataError) as caught, whole_or_nothing(Target(out, "folder")):
        raise error
    assert str(caught.value) == f"{out}: {message}"
    assert names(tmp_path) == [], "nor the folders on the way there"


def test_errors_name_no_hidden_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError) as caught:
        write(Target(out, "folder"), "", DataError("no name for a file", place="Ann/1.jpg", next_step="Rename it"))
    assert str(caught.value) == f"{out / 'Ann' / '1.jpg'}: no name for a file. Rename it"
    long = DataError("the image cannot be written (File name too long)", place="Ann/1.jpg")
    long.__cause__ = OSError(errno.ENAMETOOLONG, "File name too long")
    with pytest.raises(DataError) as caught:
        write(Target(out, "folder"), "", long)
    assert str(caught.value) == f"{out / 'Ann' / '1.jpg'}: {long.cause}. Choose another place; nothing was left behind"
    full = DataError("the image cannot be written", place="Ann/1.jpg")
    full.__cause__ = OSError(errno.EDQUOT, "Quota exceeded")
    with pytest.raises(DataError) as caught:
        write(Target(out, "folder"), "", full)
    assert caught.value.place == str(out)
    assert "it cannot be written (Quota exceeded). Free some space; nothing was left behind" in str(caught.value)
    assert names(tmp_path) == []
    for place in (tmp_path / "faces" / "1.jpg", "lfw.bin[3]", None):
        with pytest.raises(DataError) as caught, whole_or_nothing(Target(out, "folder")):
            raise DataError("bad sector", place=place)
        assert caught.value.place == (None if place is None else str(place)), "that of reading stays as it is"


def test_an_interruption_while_the_result_is_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path / "out", "folder")
    write(target, "old")
    rename = Path.rename

    def interrupted(self: Path, other: Path) -> Path:
        if self.parent.name == "new":
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(target, "new")
    assert (tmp_path / "out" / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]
