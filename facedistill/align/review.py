"""What has become of an earlier run's photos and crops, before that run is resumed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from facedistill.align.crops import CropMaker
from facedistill.align.journal import Journal, crop_path
from facedistill.align.table import read_faces, read_missed


@dataclass(frozen=True)
class Review:
    """What a resumed run found.

    Attributes:
        remade: crops that were missing or damaged and have been made again.
        lost: crops that are missing and cannot be made again, since their photos are gone or have changed.
        gone: photos with a crop that are no longer there.
        changed: photos with a crop that are newer than the record.
        retry: photos that could not be read and may be readable now.
    """

    remade: int = 0
    lost: int = 0
    gone: int = 0
    changed: int = 0
    retry: tuple[str, ...] = ()


def review_earlier(maker: CropMaker, journal: Journal) -> Review:
    """Compare the tables with the two folders, and make again what crops are missing.

    A photo that could not be read is worth another try where its file is newer than the record (it may have been
    copied anew), or where the disk failed and not the decoder.
    """
    remade = lost = gone = changed = 0
    known_at = journal.written
    for row in read_faces(journal.out):
        path = crop_path(journal.out, row.crop)
        age = _changed_at(maker.photos / row.photo)
        if age is None:
            gone += 1
        elif age > known_at:
            changed += 1
        if not (path.is_file() and path.stat().st_size == row.bytes):
            if age is not None and maker.remake(row):
                remade += 1
            else:
                lost += 1
    retry = []
    for missed in read_missed(journal.out):
        if missed.status == "unreadable":
            age = _changed_at(maker.photos / missed.photo)
            if age is not None and (age > known_at or missed.reason.startswith("the image cannot be read")):
                retry.append(missed.photo)
    return Review(remade, lost, gone, changed, tuple(dict.fromkeys(retry)))


def _changed_at(path: Path) -> float | None:
    """When a file's content or place last changed, in seconds since the epoch; None where there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116  (pathlib's takes twice as long, a million times)
    except OSError:
        return None
    return max(status.st_mtime, status.st_ctime)
