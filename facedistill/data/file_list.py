"""A list of image files with their identities: CSV, MXNet's `.lst`, or plain lines.

CSV (`.csv`): a header row that names `path` and `identity`. `.lst`: lines `index<TAB>label<TAB>path`, as im2rec takes
them. Plain (`.txt`): lines `path<TAB>identity`, or a path alone, whose folder is then the identity. Paths are relative
to the folder that the list lies in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from facedistill.data.folder import LabelledFiles
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

LIST_SUFFIXES = (".csv", ".lst", ".txt")


def read_file_list(path: Path) -> LabelledFiles:
    """The images that a list names, in its order.

    Raises:
        DataError: the list cannot be read or is empty, a line is malformed (named as file:line), a file is listed
            twice or none of the files is there.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"the list of images cannot be read ({error.strerror})", place=path) from error
    parse = {".csv": _parse_csv, ".lst": _parse_lst}.get(path.suffix.lower(), _parse_plain)
    names: dict[str, int] = {}
    owners = []
    for number, name, owner in parse(path, text):
        if not name or not owner:
            what = "path" if not name else "identity"
            raise DataError(f"the {what} is empty", place=f"{path}:{number}")
        if name in names:
            raise DataError(f"'{shown_name(name)}' was listed before, in line {names[name]}", place=f"{path}:{number}")
        names[name] = number
        owners.append(owner)
    if not names:
        raise DataError("the list names no images", place=path, next_step="Write lines 'path<TAB>identity'")
    if not any((path.parent / name).is_file() for name in names):
        raise DataError(
            f"none of the {len(names)} listed images is there, not even '{shown_name(next(iter(names)))}'",
            place=path,
            next_step=f"Paths are relative to the folder of the list, {path.parent}",
        )
    return LabelledFiles(path.parent, list(names), owners)


def _parse_csv(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    if not {"path", "identity"} <= set(columns):
        raise DataError(
            f"the header row reads '{shown_name(','.join(columns))}'",
            place=f"{path}:1",
            next_step="Name the columns path,identity",
        )
    for row in reader:
        if row["path"] is None or row["identity"] is None:
            raise DataError(f"the line has not the header's {len(columns)} fields", place=f"{path}:{reader.line_num}")
        yield reader.line_num, _slashes(row["path"].strip()), row["identity"].strip()


def _parse_lst(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in _lines(text):
        fields = line.split("\t")
        if len(fields) < 3:
            raise DataError(
                f"the line has {len(fields)} fields",
                place=f"{path}:{number}",
                next_step="Write index<TAB>label<TAB>path",
            )
        label = fields[1].strip()
        # im2rec writes its labels as floats, and 3.000000 is the class 3.
        whole = label.partition(".")
        yield number, _slashes(fields[-1].strip()), whole[0] if whole[2].strip("0") == "" else label


def _parse_plain(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in _lines(text):
        fields = [field.strip() for field in line.split("\t")]
        fields[0] = _slashes(fields[0])
        if len(fields) > 2:
            raise DataError(
                f"the line has {len(fields)} fields", place=f"{path}:{number}", next_step="Write path<TAB>identity"
            )
        if len(fields) == 1 and "/" not in fields[0]:
            raise DataError(
                f"nothing says who '{shown_name(fields[0])}' shows",
                place=f"{path}:{number}",
                next_step="Write path<TAB>identity, or keep each person's images in a folder of their own",
            )
        yield number, fields[0], fields[1] if len(fields) == 2 else fields[0].rpartition("/")[0]


def _slashes(name: str) -> str:
    """A path as every system reads it; lists that were written on Windows have it otherwise."""
    return name.replace("\\", "/")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
