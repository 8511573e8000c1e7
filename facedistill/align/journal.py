"""What an alignment has done so far, kept in the output folder so that a killed run goes on where it was.

`OUT/.align/photos.txt` holds the photos in the order in which they are worked on, and `OUT/.align/state.json` how many
chunks of them are done and how long the two tables were then. Whatever a table holds beyond that was written by a chunk
that never ended, and is cut off.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from facedistill.align.table import (
    FACES_NAME,
    MISSED_NAME,
    FaceRow,
    MissedRow,
    face_lines,
    missed_lines,
    read_faces,
    read_missed,
)
from facedistill.errors import DataError, UsageError
from facedistill.files import write_atomically

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FOLDER = ".align"
_STATE = f"{FOLDER}/state.json"
_PHOTOS = f"{FOLDER}/photos.txt"
SUMMARY_NAME = "align-report.json"
PAGE_NAME = "report.html"
CHUNK = 64
"""Photos that are worked on, and reported done, together: what a kill costs at most, for each worker."""
TAKEN_BACK = "taken back"
"""Counts the places of photos that were missed and are looked at again."""

_HEADS = {FACES_NAME: face_lines((), header=True), MISSED_NAME: missed_lines((), header=True)}
_STRUCK = f"{FOLDER}/missed.struck"
_ANEW = "Begin anew with --overwrite"


class Journal:
    """The record of one alignment.

    Attributes:
        out: the folder of crops.
        parts: the photos of each run that added some, in order; a chunk never holds photos of two parts, so that
            photos which come later leave the chunks before them as they were.
        done: chunks that are finished.
        counts: what has been counted so far, by name.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.parts: list[list[str]] = []
        self.done = 0
        self.counts: Counter[str] = Counter()
        self._settings: dict[str, Any] = {}
        self._lengths: dict[str, int] = {}
        self._pending: list[str] = []

    @property
    def chunks(self) -> list[list[str]]:
        """All photos, in chunks."""
        return [part[first : first + CHUNK] for part in self.parts for first in range(0, len(part), CHUNK)]

    @classmethod
    def begin(cls, out: Path, settings: dict[str, Any]) -> Journal:
        """A new record in an empty or new folder.

        Raises:
            OSError: the folder cannot be written.
        """
        journal = cls(out)
        journal._settings = settings
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        for name, head in _HEADS.items():
            write_atomically(out / name, head)
            journal._lengths[name] = len(head)
        journal._write_photos()
        journal._write_state()
        return journal

    @classmethod
    def resume(cls, out: Path, settings: dict[str, Any]) -> Journal:
        """The record of an earlier run, its tables cut back to what is known to be whole.

        Raises:
            UsageError: it was made with other settings.
            DataError: it is damaged.
            OSError: it cannot be read.
        """
        journal = cls(out)
        path = out / _STATE
        state = path.read_text(encoding="utf-8", errors="replace")
        photos = (out / _PHOTOS).read_text(encoding="utf-8", errors="replace")
        try:
            journal._parse(json.loads(state), photos.splitlines())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"the record of the earlier run is damaged ({error})", place=path, next_step=_ANEW
            ) from error
        difference = _first_difference(journal._settings, settings)
        if difference is not None:
            name, before, now = difference
            raise UsageError(
                f"the earlier run had {name} {before!r}, this one has {now!r}",
                place=out,
                next_step="Resume with the same settings, or choose another output folder",
            )
        if journal._pending:
            journal._settle()
        (out / _STRUCK).unlink(missing_ok=True)
        for name, length in journal._lengths.items():
            _cut_table(out / name, _HEADS[name], length)
        for unfinished in (out / FOLDER).glob("part-*"):
            unfinished.unlink()
        for stale in (SUMMARY_NAME, PAGE_NAME):
            (out / stale).unlink(missing_ok=True)
        return journal

    def _parse(self, state: dict[str, Any], lines: Sequence[str]) -> None:
        """Take over what the two files say; whatever Python raises where that is nonsense."""
        self._settings, self.done = dict(state["settings"]), int(state["done"])
        self._lengths = {name: int(state["lengths"][name]) for name in _HEADS}
        self.counts = Counter({str(name): int(count) for name, count in state["counts"].items()})
        self._pending = [str(photo) for photo in state["pending"]]
        self.parts = [[]]
        for line in lines:
            if not line:
                self.parts.append([])
            elif isinstance(photo := json.loads(line), str):
                self.parts[-1].append(photo)
            else:
                raise ValueError(f"{line} is no name of a photo")
        self.parts = [part for part in self.parts if part]
        counted = sum(count for name, count in self.counts.items() if name.startswith("photos "))
        chunks = self.chunks
        if not 0 <= self.done <= len(chunks) or counted != sum(map(len, chunks[: self.done])):
            raise ValueError(f"{self.done} chunks of {len(chunks)} are done, with {counted} photos")

    @property
    def written(self) -> float:
        """When the state was last written, in seconds since the epoch."""
        return (self.out / _STATE).stat().st_mtime

    def add_photos(self, photos: Sequence[str]) -> int:
        """Take in the photos that are not among the known ones; gives how many there were."""
        known = {photo for part in self.parts for photo in part}
        new = [photo for photo in photos if photo not in known]
        if new:
            self.parts.append(new)
            self._write_photos()
        return len(new)

    def take_back(self, photos: Sequence[str]) -> None:
        """Strike photos that gave nothing off the table of misses, and put them at the end of what is to be done."""
        again = set(photos)
        rows = list(read_missed(self.out))
        kept = missed_lines((row for row in rows if row.photo not in again), header=True)
        # The places that they had stay theirs, so that the chunks before and behind stay as they were.
        for status in {row.photo: row.status for row in rows if row.photo in again}.values():
            self.counts[f"photos {status}"] -= 1
            self.counts[f"photos {TAKEN_BACK}"] += 1
        write_atomically(self.out / _STRUCK, kept)
        self._lengths[MISSED_NAME] = len(kept)
        self._pending = list(photos)
        self._write_state()  # from here on a kill changes nothing: `resume` does the rest
        self._settle()

    def _settle(self) -> None:
        """Put in place what `take_back` has prepared."""
        if (self.out / _STRUCK).is_file():
            (self.out / _STRUCK).replace(self.out / MISSED_NAME)
        if self.parts[-1:] != [self._pending]:
            self.parts.append(self._pending)
        self._pending = []
        self._write_photos()
        self._write_state()

    def finish_chunk(self, faces: Iterable[FaceRow], missed: Iterable[MissedRow], counts: Counter[str]) -> None:
        """Record the next chunk as done; its crops must be in place."""
        for name, lines in ((FACES_NAME, face_lines(faces)), (MISSED_NAME, missed_lines(missed))):
            with (self.out / name).open("ab") as table:
                table.write(lines)
            self._lengths[name] += len(lines)
        self.done += 1
        self.counts += counts
        self._write_state()

    def _write_photos(self) -> None:
        # JSON strings, since a file name may hold a line break, or bytes that are no text.
        parts = ["".join(f"{json.dumps(photo)}\n" for photo in part) for part in self.parts]
        write_atomically(self.out / _PHOTOS, "\n".join(parts).encode("ascii"))

    def _write_state(self) -> None:
        state = {
            "settings": self._settings,
            "done": self.done,
            "lengths": self._lengths,
            "counts": {name: count for name, count in sorted(self.counts.items()) if count},
            "pending": self._pending,
        }
        write_atomically(self.out / _STATE, (json.dumps(state, indent=1) + "\n").encode())


def holds_alignment(out: Path) -> bool:
    """Whether a folder holds an alignment, or the beginning of one that was killed before it had written its state."""
    if is_begun(out):
        return True
    names = {path.name for path in out.iterdir()}
    own = {FOLDER, *_HEADS, *(f".{name}.partial" for name in _HEADS)}
    return FOLDER in names and names <= own


def is_begun(out: Path) -> bool:
    """Whether there is a state to go on from."""
    return (out / _STATE).is_file()


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Makes the folder and keeps any other run out of it.

    Raises:
        UsageError: another run is at work there.
        OSError: the folder cannot be written.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    with (out / FOLDER / "lock").open("w") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "another run is aligning into this folder", place=out, next_step="Wait for it, or choose another folder"
            ) from error
        yield


def clear(out: Path) -> None:
    """Remove an alignment from its folder: the crops that its table lists, and its record; nothing else.

    Raises:
        UsageError: see `crop_path`.
    """
    # A killed run may leave the last line cut short; what it names is written over or told of as a stranger later.
    with suppress(DataError):
        for row in read_faces(out):
            crop_path(out, row.crop).unlink(missing_ok=True)
    # The state goes last: as long as it is there, a kill leaves a folder that can be cleared again.
    for name in (MISSED_NAME, SUMMARY_NAME, PAGE_NAME, FACES_NAME, _PHOTOS, _STATE):
        (out / name).unlink(missing_ok=True)


def crop_path(out: Path, name: str) -> Path:
    """Where a crop lies: in its folder, whatever a table says and wherever links lead, and never among the photos.

    Raises:
        UsageError: the name, or a symbolic link on the way, leads out of the folder.
    """
    path = out / name
    if ".." in PurePosixPath(name).parts or not path.parent.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            "the place of a crop leads out of the folder of crops",
            place=path,
            next_step="Remove the link or the line that names it, or choose another output folder",
        )
    return path


def _cut_table(path: Path, head: bytes, length: int) -> None:
    """Cut a table back to its good length; DataError where it is not the one that was written."""
    good = path.is_file() and not path.is_symlink() and path.stat().st_size >= length >= len(head)
    if good:
        with path.open("rb") as table:
            good = table.read(len(head)) == head
            table.seek(length - 1)
            good = good and table.read(1) == b"\n"
    if not good:
        raise DataError(
            "the table of the earlier run is missing, too short or another one", place=path, next_step=_ANEW
        )
    os.truncate(path, length)


def _first_difference(before: dict[str, Any], now: dict[str, Any], within: str = "") -> tuple[str, Any, Any] | None:
    """The first setting that differs: its name, what it was and what it is."""
    for name, value in now.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            difference = _first_difference(old, value, f"{within}{name}.")
            if difference is not None:
                return difference
        elif old != value:
            return f"{within}{name}", old, value
    return None
