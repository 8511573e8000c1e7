"""The lists of IJB-B and IJB-C as insightface publishes them: text files of numbers, up to 15.7 million lines."""

from __future__ import annotations

import csv
import warnings
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

Integers = npt.NDArray[np.int64]

_LARGEST = np.iinfo(np.int32).max


class TemplateMedia(NamedTuple):
    """`ijbX_face_tid_mid.txt`: lines `name template medium`, one an image.

    Attributes:
        names: of the N images.
        templates: (N,) int64.
        media: (N,) int64.
    """

    names: list[str]
    templates: Integers
    media: Integers


class Landmarks(NamedTuple):
    """`ijbX_name_5pts_score.txt`: lines `name x y x y x y x y x y score`, one an image.

    Attributes:
        names: of the N images.
        points: (N, 5, 2) float64, pixels of the loose crop.
        scores: (N,) float64, of the detector.
    """

    names: list[str]
    points: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


class TemplatePairs(NamedTuple):
    """`ijbX_template_pair_label.txt`: lines `template template label`, label 1 for one person.

    Attributes:
        templates: (P, 2) int32.
        same: (P,) bool.
    """

    templates: npt.NDArray[np.int32]
    same: npt.NDArray[np.bool_]


class TemplateSubjects(NamedTuple):
    """`ijbX_1N_*.csv`: a header with TEMPLATE_ID and SUBJECT_ID among others, and a line for each image.

    Attributes:
        templates: (T,) int64, ascending, each once.
        subjects: (T,) int64, the person of each.
    """

    templates: Integers
    subjects: Integers


def read_template_media(path: Path) -> TemplateMedia:
    """The template and the medium of each image; DataError where a line is malformed (named as file:line)."""
    numbers = array("q")

    def add(fields: list[str]) -> None:
        numbers.extend(map(int, fields))

    names = _read_lines(path, 3, add, "a name and two whole numbers, template and medium, are due here")
    table = np.frombuffer(numbers, dtype=np.int64).reshape(-1, 2)
    return TemplateMedia(names, table[:, 0].copy(), table[:, 1].copy())


def read_landmarks(path: Path) -> Landmarks:
    """Landmarks and detector score of each image; DataError where a line is malformed (named as file:line)."""
    numbers = array("d")
    due = "a name, ten finite coordinates and a detector score of 0 or more are due here"

    def add(fields: list[str]) -> None:
        numbers.extend(map(float, fields))

    names = _read_lines(path, 12, add, due)
    table = np.frombuffer(numbers, dtype=np.float64).reshape(-1, 11)
    faults = ~np.isfinite(table).all(axis=1) | (table[:, 10] < 0)
    if faults.any():
        raise DataError(due, place=f"{path}:{int(np.argmax(faults)) + 1}")
    return Landmarks(names, table[:, :10].reshape(-1, 5, 2).copy(), table[:, 10].copy())


def _read_lines(path: Path, count: int, add: Callable[[list[str]], None], due: str) -> list[str]:
    """The first of the `count` fields of every line; the others go to `add`, which raises ValueError."""
    names = []
    lines = _read_text(path).splitlines()
    for number, line in enumerate(lines, 1):
        name, *others = line.split() or [""]
        if len(others) != count - 1:
            raise DataError(due, place=f"{path}:{number}")
        names.append(name)
        try:
            add(others)
        except (ValueError, OverflowError):
            raise DataError(due, place=f"{path}:{number}") from None
    if not names:
        raise DataError("the list is empty", place=path)
    return names


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"the list cannot be read ({error.strerror})", place=path) from error
    except UnicodeDecodeError as error:
        raise DataError("the list is no UTF-8 text", place=path) from error


def read_template_pairs(path: Path) -> TemplatePairs:
    """The pairs, in a few seconds for IJB-C's 15.7 million; DataError where a line is malformed (file:line)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of an empty file, and of numbers with a point, NumPy only warns
            table = np.loadtxt(path, dtype=np.int32, comments=None, ndmin=2)
    except OSError as error:
        raise DataError(f"the list cannot be read ({error.strerror})", place=path) from error
    except (ValueError, Warning) as error:
        raise _malformed_pair(path) from error
    if table.shape[1] != 3 or not np.isin(table[:, 2], (0, 1)).all() or table.min() < 0:
        raise _malformed_pair(path)
    return TemplatePairs(np.ascontiguousarray(table[:, :2]), table[:, 2] == 1)


def _malformed_pair(path: Path) -> DataError:
    """What is wrong with a list of pairs, found slowly."""
    number = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.split()
            whole = all(field.isdigit() and int(field) <= _LARGEST for field in fields)
            if fields and not (whole and len(fields) == 3 and fields[2] in (b"0", b"1")):
                return DataError(
                    "two templates and a label, 1 for one person and 0 for two, are due here", place=f"{path}:{number}"
                )
    return DataError("the list is empty" if not number else "it is no list of template pairs", place=path)


def pair_line(path: Path, pair: int) -> int:
    """The line of pair number `pair` (from 0 on) in a list of pairs, where blank lines do not count."""
    with path.open("rb") as lines:
        numbers = (number for number, line in enumerate(lines, 1) if line.strip())
        return next(number for position, number in enumerate(numbers) if position == pair)


def read_template_subjects(path: Path) -> TemplateSubjects:
    """The person of each template; DataError where a line is malformed, or a template is of two people."""
    found: dict[int, int] = {}
    rows = csv.reader(_read_text(path).splitlines())
    columns = [name.strip().upper() for name in next(rows, [])]
    absent = [name for name in ("TEMPLATE_ID", "SUBJECT_ID") if name not in columns]
    if absent:
        raise DataError(f"the header row lacks {', '.join(absent)}", place=f"{path}:1")
    template_column, subject_column = columns.index("TEMPLATE_ID"), columns.index("SUBJECT_ID")
    for number, row in enumerate(rows, 2):
        try:
            template, subject = int(row[template_column]), int(row[subject_column])
        except (ValueError, IndexError):
            raise DataError("TEMPLATE_ID and SUBJECT_ID are no whole numbers", place=f"{path}:{number}") from None
        if found.setdefault(template, subject) != subject:
            raise DataError(
                f"template {template} is of subject {subject} here and of {found[template]} above",
                place=f"{path}:{number}",
            )
    if not found:
        raise DataError("the list is empty", place=path)
    templates = np.array(sorted(found), dtype=np.int64)
    return TemplateSubjects(templates, np.array([found[template] for template in templates.tolist()], dtype=np.int64))
