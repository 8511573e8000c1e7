"""Read a file of five landmarks a photo: CSV with a header, a plain list without one, or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import reprlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.align.table import LANDMARK_COLUMNS
from facedistill.errors import DataError

Floats = npt.NDArray[np.float32]

_BOX_COLUMNS = ("box_x1", "box_y1", "box_x2", "box_y2")
_NUMBERS = len(LANDMARK_COLUMNS)
_NONE = float("nan")
_FORM = "Separate the columns by commas, in UTF-8"


class LandmarkRows(NamedTuple):
    """The F faces of a file, in its order.

    Attributes:
        photos: the photo of each, as the file gives it.
        points: (F, 5, 2) float32 pixels; NaN and infinity stay as they are given.
        scores: (F,) float32, NaN where there is none.
        boxes: (F, 4) float32 x1, y1, x2, y2, all NaN where there is none.
    """

    photos: list[str]
    points: Floats
    scores: Floats
    boxes: Floats


def read_landmarks(path: Path) -> LandmarkRows:
    """Read any of the three forms; several rows of one photo are several faces.

    - CSV with a header: `photo`, `left_eye_x`, `left_eye_y`, `right_eye_x` ... `right_mouth_y`, left being the image's
      left, and if wanted `score` and `box_x1`, `box_y1`, `box_x2`, `box_y2`; other columns are ignored. So are the
      columns of an alignment's landmarks.csv.
    - A list without a header: the photo and ten numbers a line, between commas or blanks. The two lines at the top of
      CelebA's lists, a count and the names of the ten numbers, are stepped over.
    - JSON: an object of photos, each with five [x, y] or a list of faces of five [x, y].

    Raises:
        DataError: there is no such file, it is none of these or names no face, a column is missing, or a face has not
            five points of two numbers.
    """
    text = _read(path)
    if text.lstrip()[:1] in ("{", "["):
        rows = _json_rows(text, path)
    elif "photo" in (cell.strip('"') for cell in text.partition("\n")[0].rstrip("\r").split(",")):
        rows = _table_rows(text, path)
    else:
        rows = _list_rows(text, path)
    photos: list[str] = []
    numbers = array("f")
    for photo, values in rows:
        photos.append(photo)
        numbers.extend(values)
    if not photos:
        raise DataError("the file names no photo with landmarks", place=path)
    table = np.array(numbers, dtype=np.float32).reshape(-1, _NUMBERS + 5)
    return LandmarkRows(photos, table[:, :_NUMBERS].reshape(-1, 5, 2), table[:, _NUMBERS], table[:, _NUMBERS + 1 :])


def _read(path: Path) -> str:
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise DataError(f"the landmarks cannot be read (this is {kind}, not a file)", place=path)
    try:
        # Names that are no valid UTF-8 are looked up as the file system gives them; Excel puts a mark at the start.
        # Lines are not translated: a name may hold a carriage return.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            text = stream.read()
    except OSError as error:
        raise DataError(f"the landmarks cannot be read ({error.strerror})", place=path) from error
    if "\0" in text:
        raise DataError("the file is UTF-16, or no text", place=path, next_step=_FORM)
    return text


def _csv_rows(lines: Iterable[str], path: Path, before: int = 0) -> Iterator[tuple[list[str], str]]:
    """The cells of each row and its place; `before` lines of the file come before these."""
    reader = csv.reader(lines)
    try:
        for cells in reader:
            yield cells, f"{path}, line {before + reader.line_num}"
    except csv.Error as error:
        raise DataError(f"the line is no CSV ({error})", place=f"{path}, line {before + reader.line_num}") from error


def _table_rows(text: str, path: Path) -> Iterator[tuple[str, list[float]]]:
    # A name may hold what splitlines takes for a line's end.
    rows = _csv_rows(io.StringIO(text, newline=""), path)
    header, _ = next(rows)
    boxed = [name for name in _BOX_COLUMNS if name in header]
    for name in (*LANDMARK_COLUMNS, *(_BOX_COLUMNS if boxed else ())):
        if name not in header:
            raise DataError(f"the table lacks the column {name}", place=path)
    photo = header.index("photo")
    needed = [header.index(name) for name in LANDMARK_COLUMNS]
    optional = [header.index(name) if name in header else None for name in ("score", *_BOX_COLUMNS)]
    for cells, place in rows:
        if not cells:
            continue
        if len(cells) != len(header):
            raise DataError(f"the line has {len(cells)} columns, the header {len(header)}", place=place)
        values = [_number(cells[index], place) for index in needed]
        rest = [_NONE if index is None or not cells[index] else _number(cells[index], place) for index in optional]
        yield cells[photo], values + rest


def _list_rows(text: str, path: Path) -> Iterator[tuple[str, list[float]]]:
    lines = re.split("\r?\n" if "\n" in text else "\r", text)
    first = 0
    if lines and lines[0].strip().isdigit():
        first = 1
        # CelebA's second line names the ten numbers, and the photo has no name there.
        if len(lines) > 1 and len(lines[1].split()) == _NUMBERS and not _is_number(lines[1].split()[-1]):
            first = 2
    empty = True
    for count, line in enumerate(lines[first:], first + 1):
        place = f"{path}, line {count}"
        cells = line.strip().rsplit(None, _NUMBERS)
        if "," in line:
            cells, _ = next(_csv_rows([line], path, count - 1))
        if not cells:
            continue
        # A name may hold blanks, so with blanks alone a line of too many numbers would pass for a longer name.
        if empty and not _is_number(cells[-1]):
            raise DataError(
                "the file is neither a table with the column photo nor a list of photos with ten numbers each",
                place=place,
                next_step=f"{_FORM}; those of a table are photo, {', '.join(LANDMARK_COLUMNS)}",
            )
        if len(cells) != _NUMBERS + 1:
            raise DataError(f"a photo has {_NUMBERS} numbers, here are {len(cells) - 1}", place=place)
        empty = False
        yield cells[0], [_number(cell, place) for cell in cells[1:]] + [_NONE] * 5


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, list[float]]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the file is no JSON that can be read ({error})", place=path) from error
    if not isinstance(content, dict):
        raise DataError("the JSON is no object of photos", place=path)
    for photo, value in content.items():
        if not isinstance(value, list):
            raise DataError("a photo has a list of five points, or of faces", place=f"{path}, photo {photo}")
        faces = [value] if value and _is_point(value[0]) else value
        for face in faces:
            yield photo, _face(face, f"{path}, photo {photo}") + [_NONE] * 5


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and not isinstance(value[0], list)


def _face(face: Any, place: str) -> list[float]:
    points: Sequence[Any] = face if isinstance(face, list) else []
    if len(points) != 5:
        raise DataError(f"a face has five points [x, y], here are {len(points)}", place=place)
    values = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise DataError(f"a point is [x, y], this one is {reprlib.repr(point)}", place=place)
        for value in point:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise DataError(f"{reprlib.repr(value)} is not a number", place=place)
            try:
                values.append(float(value))
            except OverflowError as error:
                raise DataError(f"the number {reprlib.repr(value)} is too large", place=place) from error
    return values


def _number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{reprlib.repr(cell)} is not a number", place=place) from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
