"""mxnet's list of the images of a `.rec` file, which keeps the names that the file itself has no room for.

Lines of the record's key, the label and the image's relative path, with tabs between; further labels may stand before
the path. Source: mxnet, tools/im2rec.py, `write_list` and `read_list`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.records.index import whole_numbers
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

# What a relative path with forward slashes does not hold: an absolute path, a drive, a step upwards, an empty part.
_UNSAFE = re.compile(r"[\0\t\r\n\\]|^[A-Za-z]:|(?:^|/)(?:\.{0,2})(?:/|$)")

# One of these is in every line whose path is unsafe, and in few others.
_SUSPICIOUS = (b"\0", b"\\", b":", b"\r", b"\t/", b"\t.", b"\t\n", b"//", b"/.", b"/\n")
_NO_FRACTION = np.frombuffer(b".000000", dtype=np.uint8)
# Bytes of the list that are parsed, and images that are looked at, together.
_BLOCK = 1 << 18
_IMAGES = 1 << 14

Integers = npt.NDArray[np.int64]


class _Listed(NamedTuple):
    """(N,) keys and labels of lines, and where in the file their paths begin and end."""

    keys: Integers
    labels: Integers | npt.NDArray[np.float64]
    begins: Integers
    ends: Integers


@dataclass(frozen=True, eq=False)
class ImageNames:
    """Paths of N images, kept as the text of the list.

    Attributes:
        text: the list, UTF-8.
        bounds: (N, 2) int64, where in the text each path begins and ends.
        identities: the name of each label, None where the folders of the paths do not tell identities apart.
    """

    text: bytes
    bounds: Integers
    identities: list[str] | None

    def __getitem__(self, row: int) -> str:
        begin, end = self.bounds[row]
        return _text(self.text[begin:end])


def is_listable(name: str) -> bool:
    """Whether a list can hold the path and a reader of it can make that file below a folder of its own."""
    return _UNSAFE.search(name) is None


def read_names(path: Path, keys: Integers, classes: Integers, labels: Integers) -> ImageNames:
    """The paths that a list gives to images.

    Args:
        path: the `.lst` file.
        keys: (N,) int64, the images' record keys, ascending.
        classes: (N,) int64, the class of each image as the `.rec` file has it.
        labels: (N,) int64, the same counted from 0 without gaps.

    Raises:
        DataError: a line is not as the format has it, an image is missing or listed with another class, or a path is
            absolute or leads outside.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", place=path) from error
    listed = _Listed(*map(np.concatenate, zip(*_blocks(content, path), strict=True)))
    rows = _rows(listed.keys.astype(np.int64), keys, path)
    differing = np.flatnonzero(listed.labels[rows] != classes)
    if len(differing):
        raise DataError(f"it gives record {keys[differing[0]]} another label than the .rec file does", place=path)
    bounds = np.stack([listed.begins[rows], listed.ends[rows]], axis=1)
    del listed, rows
    return ImageNames(content, bounds, _identities(content, bounds, labels))


def _blocks(content: bytes, path: Path) -> Iterator[_Listed]:
    """The lines of the list, some of them at once."""
    begin, line_number = 0, 1
    yield _Listed(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
    while begin < len(content):
        end = content.find(b"\n", begin + _BLOCK) + 1 or len(content)
        block = content[begin:end]
        parsed = _parse_plain(block)
        if parsed is None:
            parsed = _parse_lines(block, path, line_number)
        yield parsed._replace(begins=parsed.begins + begin, ends=parsed.ends + begin)
        line_number += block.count(b"\n")
        begin = end


def _parse_plain(block: bytes) -> _Listed | None:
    """A block of lines of a key, one whole label and a path in which nothing is suspicious; None for any other."""
    text = block if block.endswith(b"\n") else block + b"\n"
    if any(suspicious in text for suspicious in _SUSPICIOUS):
        return None
    characters = np.frombuffer(text, dtype=np.uint8)
    line_ends, tabs = np.flatnonzero(characters == ord("\n")), np.flatnonzero(characters == ord("\t"))
    line_begins = np.concatenate([[0], line_ends[:-1] + 1])
    if len(tabs) != 2 * len(line_ends) or (tabs[::2] < line_begins).any() or (tabs[1::2] > line_ends).any():
        return None
    label_ends = tabs[1::2]
    if b"." in text[: label_ends[0]]:  # as im2rec writes labels: 3.000000
        label_ends = label_ends - len(_NO_FRACTION)
        if (characters[label_ends[:, np.newaxis] + np.arange(len(_NO_FRACTION))] != _NO_FRACTION).any():
            return None
    keys = whole_numbers(characters, line_begins, tabs[::2])
    labels = whole_numbers(characters, tabs[::2] + 1, label_ends)
    if keys is None or labels is None:
        return None
    return _Listed(keys, labels, tabs[1::2] + 1, line_ends)


def _parse_lines(block: bytes, path: Path, first_line: int) -> _Listed:
    """Any lines, one by one, to say which one is wrong."""
    found = []
    begin = 0
    for number, line in enumerate(block.split(b"\n"), first_line):
        end = begin + len(line.rstrip(b"\r"))
        fields = block[begin:end].split(b"\t")
        if fields != [b""]:
            try:
                key, label, name = int(fields[0]), float(fields[1]), fields[-1]
                if len(fields) < 3 or abs(key) >> 62 or not is_listable(_text(name)):
                    raise ValueError
            except (ValueError, IndexError):
                shown = shown_name(line.strip().decode(errors="backslashreplace"))
                raise DataError(
                    f"line {number} is '{shown}', not a key, a label and a relative path", place=path
                ) from None
            found.append((key, label, end - len(name), end))
        begin += len(line) + 1
    keys, labels, begins, ends = zip(*found, strict=True) if found else ((), (), (), ())
    return _Listed(
        np.array(keys, dtype=np.int64),
        np.array(labels, dtype=np.float64),
        np.array(begins, dtype=np.int64),
        np.array(ends, dtype=np.int64),
    )


def _rows(listed: Integers, keys: Integers, path: Path) -> Integers:
    """The row of the list for each key."""
    order = np.argsort(listed, kind="stable")
    ordered = listed[order]
    places = np.searchsorted(ordered, keys)
    missing = places >= len(ordered)
    missing[~missing] = ordered[places[~missing]] != keys[~missing]
    if missing.any():
        raise DataError(f"it does not list record {keys[missing][0]}", place=path)
    return order[places]


def _identities(content: bytes, bounds: Integers, labels: Integers) -> list[str] | None:
    """The folder of each label; None unless every label has one of its own."""
    label_of: dict[bytes, int] = {}
    for start in range(0, len(bounds), _IMAGES):
        rows = slice(start, start + _IMAGES)
        for (begin, end), label in zip(bounds[rows].tolist(), labels[rows].tolist(), strict=True):
            folder = content[begin : max(content.rfind(b"/", begin, end), begin)]
            if label_of.setdefault(folder, label) != label:
                return None
    if b"" in label_of or len(set(label_of.values())) < len(label_of):
        return None
    return [_text(folder) for folder in sorted(label_of, key=lambda folder: label_of[folder])]


def _text(name: bytes) -> str:
    """The name as `os.fsdecode` gives it, so that names in no known encoding come back as they were."""
    return name.decode("utf-8", "surrogateescape")
