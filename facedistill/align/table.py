"""The two tables of an alignment: `landmarks.csv` with a row a crop, `missed.csv` with a row for whatever gave none."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from facedistill.align.template import LANDMARK_NAMES
from facedistill.errors import DataError

FACES_NAME = "landmarks.csv"
MISSED_NAME = "missed.csv"

MissedStatus = Literal["no face", "filtered", "bad landmarks", "unreadable", "name taken", "outside link"]
"""Why there is no crop. filtered: the face was too small, too blurred or the like; name taken: another photo has that
crop's name; outside link: a symbolic link that leads out of the folder of photos."""

_BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")
LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")
_MATRIX_COLUMNS = ("m11", "m12", "m13", "m21", "m22", "m23")
_FACE_COLUMNS = (
    "photo",
    "crop",
    "bytes",
    "attempt",
    "faces",
    "score",
    "size",
    "sharpness",
    "yaw",
    *_BOX_COLUMNS,
    *LANDMARK_COLUMNS,
    *_MATRIX_COLUMNS,
)
_MISSED_COLUMNS = ("photo", "status", "reason")


Row = TypeVar("Row")


@dataclass(frozen=True)
class FaceRow:
    """One crop.

    Attributes:
        photo, crop: paths relative to the two folders, with forward slashes.
        bytes: size of the crop's file.
        attempt: which of `find.ATTEMPTS` found the face.
        faces: how many faces the photo showed.
        score: the detector's confidence, 0 to 1.
        size: side in pixels of the square that is as large as the face's box.
        sharpness, yaw: see `quality`; yaw in degrees, positive where the nose points to the image's right.
        box: x1, y1, x2, y2 in pixels of the photo.
        landmarks: x and y of the five landmarks in pixels of the photo, in the template's order.
        matrix: the transform from pixels of the photo to pixels of the crop, row by row.
    """

    photo: str
    crop: str
    bytes: int
    attempt: str
    faces: int
    score: float
    size: float
    sharpness: float
    yaw: float
    box: tuple[float, ...]
    landmarks: tuple[float, ...]
    matrix: tuple[float, ...]


@dataclass(frozen=True)
class MissedRow:
    """A photo, or one face of it, that gave no crop.

    Attributes:
        photo: path relative to the folder of photos.
        status: see `MissedStatus`.
        reason: the same in words.
    """

    photo: str
    status: MissedStatus
    reason: str


def face_lines(rows: Iterable[FaceRow], *, header: bool = False) -> bytes:
    """Lines of `landmarks.csv`: scores with 4 decimals, pixels with 2, the matrix with 9 significant digits."""

    def cells(row: FaceRow) -> list[str | int]:
        pixels = [f"{value:.2f}" for value in (row.size, row.sharpness, row.yaw, *row.box, *row.landmarks)]
        matrix = [f"{value:.9g}" for value in row.matrix]
        return [row.photo, row.crop, row.bytes, row.attempt, row.faces, f"{row.score:.4f}", *pixels, *matrix]

    heads: list[Sequence[str | int]] = [_FACE_COLUMNS] if header else []
    return _lines([*heads, *(cells(row) for row in rows)])


def missed_lines(rows: Iterable[MissedRow], *, header: bool = False) -> bytes:
    """Lines of `missed.csv`."""
    heads: list[Sequence[str | int]] = [_MISSED_COLUMNS] if header else []
    return _lines([*heads, *((row.photo, row.status, row.reason) for row in rows)])


def read_faces(out: Path) -> Iterator[FaceRow]:
    """The rows of `landmarks.csv` in a folder of crops, one by one; DataError where it is missing or damaged."""
    return _read(out / FACES_NAME, _FACE_COLUMNS, _face_row)


def read_missed(out: Path) -> Iterator[MissedRow]:
    """The rows of `missed.csv` in a folder of crops, one by one; DataError where it is missing or damaged."""
    return _read(out / MISSED_NAME, _MISSED_COLUMNS, _missed_row)


def _face_row(cells: dict[str, str]) -> FaceRow:
    def numbers(columns: tuple[str, ...]) -> tuple[float, ...]:
        return tuple(float(cells[name]) for name in columns)

    return FaceRow(
        photo=cells["photo"],
        crop=cells["crop"],
        bytes=int(cells["bytes"]),
        attempt=cells["attempt"],
        faces=int(cells["faces"]),
        score=float(cells["score"]),
        size=float(cells["size"]),
        sharpness=float(cells["sharpness"]),
        yaw=float(cells["yaw"]),
        box=numbers(_BOX_COLUMNS),
        landmarks=numbers(LANDMARK_COLUMNS),
        matrix=numbers(_MATRIX_COLUMNS),
    )


def _missed_row(cells: dict[str, str]) -> MissedRow:
    if cells["status"] not in get_args(MissedStatus):
        raise ValueError(f"no status '{cells['status']}'")
    return MissedRow(cells["photo"], cast(MissedStatus, cells["status"]), cells["reason"])


def _lines(rows: Iterable[Sequence[str | int]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    # File names that are no valid UTF-8 come back out of the table as they went in.
    return text.getvalue().encode(errors="surrogateescape")


def _read(path: Path, columns: tuple[str, ...], to_row: Callable[[dict[str, str]], Row]) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"the table lacks the column {missing[0]}", place=path)
            for cells in reader:
                place = f"{path}, line {reader.line_num}"
                if None in cells.values():
                    raise DataError("the table's line is cut short", place=place)
                try:
                    yield to_row(cells)
                except ValueError as error:
                    raise DataError(str(error), place=place) from error
    except OSError as error:
        raise DataError(f"the table cannot be read ({error.strerror})", place=path) from error
