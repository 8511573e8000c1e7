"""What an alignment has done so far, kept in the output folder so that a killed run goes on where it was.

`OUT/.align/photos.txt` holds the photos in the order in which they are worked on, and `OUT/.align/state.json` how many
chunks of them are done and how long the two tables were then. Whatever a table holds beyond that was written by a chunk
that never ended, and is cut off.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
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
)
from facedistill.errors import DataError, UsageError
from facedistill.files import write_atomically

FOLDER = ".align"
SUMMARY_NAME = "align-report.json"
PAGE_NAME = "report.html"
CHUNK = 64
"""Photos that are worked on, and reported done, together: what a kill costs at most, for each worker."""


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
        heads = {FACES_NAME: face_lines((), header=True), MISSED_NAME: missed_lines((), header=True)}
        for name, head in heads.items():
            write_atomically(out / name, head)
            journal._lengths[name] = len(head)
        journal._write_photos()
        journal._write_state()
        return journal

    @classmethod
    def resume(cls, out: Path, settings: dict[str, Any]) -> Journal:
        """The record of an earlier run, its tables cut back to what is known to be whole.

        Raises:
            UsageError: there is none, or it was made with other settings.
            DataError: it is damaged.
        """
        journal = cls(out)
        path = out / FOLDER / "state.json"
        if not path.is_file():
            raise UsageError(
                "nothing to resume: the folder holds no alignment",
                place=out,
                next_step="Leave out --resume, or name the folder of the earlier run",
            )
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            journal._settings, journal.done = state["settings"], int(state["done"])
            journal._lengths = {name: int(state["lengths"][name]) for name in (FACES_NAME, MISSED_NAME)}
            journal.counts = Counter(state["counts"])
            lines = (out / FOLDER / "photos.txt").read_text(encoding="ascii").splitlines()
            journal.parts = [[]]
            for line in lines:
                if line:
                    journal.parts[-1].append(json.loads(line))
                else:
                    journal.parts.append([])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the record of the earlier run is damaged ({error})",
                place=path,
                next_step="Begin anew with --overwrite",
            ) from error
        journal.parts = [part for part in journal.parts if part]
        changed = [name for name, value in settings.items() if journal._settings.get(name) != value]
        if changed:
            name = changed[0]
            raise UsageError(
                f"the earlier run had {name} {journal._settings.get(name)!r}, this one has {settings[name]!r}",
                place=out,
                next_step="Resume with the same settings, or choose another output folder",
            )
        for name, length in journal._lengths.items():
            table = out / name
            if not table.is_file() or table.stat().st_size < length:
                raise DataError(
                    "the table of the earlier run is missing or too short",
                    place=table,
                    next_step="Begin anew with --overwrite",
                )
            os.truncate(table, length)
        for unfinished in (out / FOLDER).glob("part-*"):
            unfinished.unlink()
        for stale in (SUMMARY_NAME, PAGE_NAME):
            (out / stale).unlink(missing_ok=True)
        return journal

    def add_photos(self, photos: Sequence[str]) -> int:
        """Take in the photos that are not among the known ones; gives how many there were."""
        known = {photo for part in self.parts for photo in part}
        new = [photo for photo in photos if photo not in known]
        if new:
            self.parts.append(new)
            self._write_photos()
        return len(new)

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
        write_atomically(self.out / FOLDER / "photos.txt", "\n".join(parts).encode("ascii"))

    def _write_state(self) -> None:
        state = {
            "settings": self._settings,
            "done": self.done,
            "lengths": self._lengths,
            "counts": dict(sorted(self.counts.items())),
        }
        write_atomically(self.out / FOLDER / "state.json", (json.dumps(state, indent=1) + "\n").encode())


def holds_alignment(out: Path) -> bool:
    """Whether a folder holds the record of an alignment."""
    return (out / FOLDER / "state.json").is_file()


def clear(out: Path) -> None:
    """Remove an alignment from its folder: the crops that its table lists, and its record; nothing else.

    Raises:
        UsageError: see `crop_path`.
    """
    # A killed run may leave the last line cut short; what it names is written over or told of as a stranger later.
    with suppress(DataError):
        for row in read_faces(out):
            crop_path(out, row.crop).unlink(missing_ok=True)
    for name in (FACES_NAME, MISSED_NAME, SUMMARY_NAME, PAGE_NAME):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / FOLDER)


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
