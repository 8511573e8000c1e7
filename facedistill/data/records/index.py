"""Where each record of a `.rec` file begins: from its `.idx` file, or from the records themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.data.records.recordio import FIRST, LONGEST_PAYLOAD, MAGIC, RecordFile
from facedistill.errors import DataError
from facedistill.shown_name import shown_name

# Digits of the longest number: more might not fit 64 bits, and no disk is that large.
_DIGITS = 18
# Bytes of an .idx file that are parsed at once; the arrays in between take about 12 times as much.
_BLOCK = 1 << 18
# Records whose headers are looked at together.
_RECORDS = 1 << 14

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RecordIndex:
    """Keys and places of records.

    Attributes:
        keys: (N,) int64, ascending, no two the same.
        offsets: (N,) int64, the bytes at which the records begin.
    """

    keys: Integers
    offsets: Integers

    def rows(self, first: int, end: int) -> slice:
        """The rows of the keys first to end - 1, as far as there are such keys."""
        low, high = np.searchsorted(self.keys, [first, end])
        return slice(int(low), int(max(low, high)))


def read_index(path: Path, records: RecordFile) -> RecordIndex:
    """Read an `.idx` file, lines of a key, a tab and a byte offset, in any order.

    Raises:
        DataError: a line is something else, a key or an offset stands twice, or an offset is no place of a record in
            the `.rec` file.

    Source: mxnet, python/mxnet/recordio.py, `MXIndexedRecordIO`.
    """
    blocks = list(_parsed_blocks(path))
    pairs = np.concatenate(blocks) if blocks else np.zeros((0, 2), np.int64)
    del blocks
    if not len(pairs):
        raise DataError(
            "the file holds no records' places", place=path, next_step="Remove it, and the .rec is scanned instead"
        )
    keys, offsets = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    del pairs
    if (keys[1:] <= keys[:-1]).any():
        order = np.argsort(keys, kind="stable")
        keys, offsets = keys[order], offsets[order]
    _refuse_repeated(keys, path, "key")
    _refuse_repeated(offsets, path, "byte offset")
    outside = np.flatnonzero((offsets % 4 != 0) | (offsets > records.size - 8))
    if len(outside):
        row = outside[0]
        raise DataError(
            f"record {keys[row]} is said to begin at byte {offsets[row]} of {records.path}, where none can: that file "
            f"has {records.size} bytes, and its records begin at multiples of 4",
            place=path,
            next_step="The two files do not belong together, or the .rec is truncated; copy or download both again",
        )
    return RecordIndex(keys, offsets)


def scan_index(records: RecordFile) -> RecordIndex:
    """Find the records by walking through the `.rec` file.

    The keys are the ids in the records' headers, where the writers of mxnet (im2rec) and insightface (face2rec2) put
    them; if two are the same, the records are counted from 0 instead, as mxnet's rec2idx does.

    Raises:
        DataError: the file is truncated or damaged.
    """
    offsets = records.scan()
    ids = np.concatenate([_ids(records, offsets[row : row + _RECORDS]) for row in range(0, len(offsets), _RECORDS)])
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if ordered[0] < 0 or (ordered[1:] == ordered[:-1]).any():
        return RecordIndex(np.arange(len(offsets), dtype=np.int64), offsets)
    return RecordIndex(ordered, offsets[order])


def whole_numbers(characters: npt.NDArray[np.uint8], begins: Integers, ends: Integers) -> Integers | None:
    """(N,) int64 numbers that stand in a text from (N,) begins to ends; None unless all are 1 to 18 digits."""
    lengths = ends - begins
    if lengths.min(initial=1) < 1 or lengths.max(initial=1) > _DIGITS:
        return None
    values = np.zeros(len(ends), dtype=np.int64)
    for digit in range(int(lengths.max(initial=0))):
        present = lengths > digit
        here = characters[np.where(present, begins + digit, begins)].astype(np.int64) - ord("0")
        if (here < 0).any() or (here > 9).any():
            return None
        values = np.where(present, values * 10 + here, values)
    return values


def _ids(records: RecordFile, offsets: Integers) -> Integers:
    """(N,) int64 ids of the headers, -1 where a record holds none."""
    words = records.words(offsets, 6)
    ids = words[:, 4].astype(np.int64) | words[:, 5].astype(np.int64) << 32
    readable = (words[:, 0] == MAGIC) & (words[:, 1] >> 29 <= FIRST) & (words[:, 1] & LONGEST_PAYLOAD >= 24)
    return np.where(readable, ids, -1)


def _refuse_repeated(numbers: Integers, path: Path, what: str) -> None:
    if (numbers[1:] > numbers[:-1]).all():
        return
    ordered = np.sort(numbers)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise DataError(
            f"the {what} {repeated[0]} stands there twice",
            place=path,
            next_step="The file is damaged; remove it, and the .rec is scanned instead",
        )


def _parsed_blocks(path: Path) -> Iterator[Integers]:
    """(n, 2) int64 key and offset of the lines of each block of the file."""
    try:
        with path.open("rb") as stream:
            line_number = 1
            # A read takes memory for all that it is asked for, so a short file is not asked for much.
            size = min(_BLOCK, path.stat().st_size + 1)
            while block := stream.read(size):
                block += stream.readline(_BLOCK)
                parsed = _parse_plain(block)
                yield _parse_lines(block, path, line_number) if parsed is None else parsed
                line_number += block.count(b"\n")
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", place=path) from error


def _parse_plain(block: bytes) -> Integers | None:
    """The numbers of a block with nothing but digits, single tabs and line ends; None for any other."""
    text = block.replace(b"\r\n", b"\n")
    characters = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(characters < ord("0"))
    if len(ends) % 2 or (characters[ends[::2]] != ord("\t")).any() or (characters[ends[1::2]] != ord("\n")).any():
        return None
    values = whole_numbers(characters, np.concatenate([[0], ends[:-1] + 1]), ends)
    return None if values is None else values.reshape(-1, 2)


def _parse_lines(block: bytes, path: Path, first_line: int) -> Integers:
    """The numbers of a block, line by line, to pass over blank lines and to say which one is wrong."""
    pairs = []
    for number, line in enumerate(block.split(b"\n"), first_line):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(b"\t")]
        if len(fields) != 2 or not all(field.isdigit() and len(field) <= _DIGITS for field in fields):
            raise DataError(
                f"line {number} is '{shown_name(line.strip().decode(errors='backslashreplace'))}', "
                "but a line is a key, a tab and a byte offset, both whole numbers",
                place=path,
                next_step="The file is damaged or no .idx; remove it, and the .rec is scanned instead",
            )
        pairs.append((int(fields[0]), int(fields[1])))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
