"""What a record of a face data set holds: mxnet's image header, labels and the encoded image.

The payload begins with 24 bytes, `IfQQ`, little endian: flag (uint32), label (float32), id and id2 (uint64). A flag
above 0 says how many float32 labels follow, which then count in the label's place; the image's bytes come last.

Source: mxnet, python/mxnet/recordio.py, `pack` and `unpack`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.data.records.recordio import LONGEST_PAYLOAD, MAGIC, RecordFile, RecordPlace
from facedistill.errors import DataError

LARGEST_EXACT = 1 << 24
"""float32 holds every whole number up to this one, and every second beyond."""

_HEADER = struct.Struct("<IfQQ")
# Records whose headers are read together, to bound the memory that takes.
_RECORDS = 1 << 14


class RecordContent(NamedTuple):
    """One record, taken apart.

    Attributes:
        labels: the first label and, where there are more, the second.
        image: the encoded image, empty in a record that has none.
    """

    labels: tuple[float, ...]
    image: bytes


@dataclass(frozen=True, eq=False)
class RecordHeaders:
    """What the headers of N records say.

    Attributes:
        labels: (N, 2) float32, the first two labels; the second means nothing where there is but one.
        is_range: (N,) bool, the record has no image but two labels: the ends of a range of keys.
    """

    labels: npt.NDArray[np.float32]
    is_range: npt.NDArray[np.bool_]


def pack_image(key: int, label: int, encoded: bytes) -> bytes:
    """The payload of an image with one label."""
    return _HEADER.pack(0, label, key, 0) + encoded


def pack_range(key: int, first: int, end: int) -> bytes:
    """The payload of a record without image whose labels are a range of keys, rounded to float32."""
    return _HEADER.pack(2, 0.0, key, 0) + struct.pack("<2f", first, end)


def unpack_content(payload: bytes, place: object) -> RecordContent:
    """Take a payload apart; DataError where it is shorter than its header says."""
    if len(payload) < _HEADER.size:
        raise DataError(
            f"the record has {len(payload)} bytes, fewer than the {_HEADER.size} of an image's header",
            place=place,
            next_step="The file is damaged, or it does not hold images",
        )
    flag, label, _, _ = _HEADER.unpack_from(payload)
    if flag == 0:
        return RecordContent((label,), payload[_HEADER.size :])
    if flag > (len(payload) - _HEADER.size) // 4:
        raise DataError(
            f"the record claims {flag} labels, more than its {len(payload)} bytes hold",
            place=place,
            next_step="The file is damaged, or it does not hold images",
        )
    labels = struct.unpack_from("<f" if flag == 1 else "<2f", payload, _HEADER.size)
    return RecordContent(labels, payload[_HEADER.size + 4 * flag :])


def read_headers(records: RecordFile, keys: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> RecordHeaders:
    """The headers of the records at (N,) offsets; of the images themselves nothing is read.

    Raises:
        DataError: a record is damaged, as in `RecordFile.payload` and `unpack_content`; it is named by its key.
    """
    labels = np.empty((len(offsets), 2), dtype=np.float32)
    is_range = np.empty(len(offsets), dtype=np.bool_)
    for start in range(0, len(offsets), _RECORDS):
        rows = slice(start, start + _RECORDS)
        words = records.words(offsets[rows], 10)
        flags, length = words[:, 2].astype(np.int64), (words[:, 1] & LONGEST_PAYLOAD).astype(np.int64)
        as_floats = words.view("=f4")
        rest = length - _HEADER.size - 4 * flags
        labels[rows, 0] = np.where(flags == 0, as_floats[:, 3], as_floats[:, 8])
        labels[rows, 1] = as_floats[:, 9]
        is_range[rows] = (flags >= 2) & (rest == 0)
        # With flag 0 the word's upper bits are 0: a record in one part.
        whole = (words[:, 0] == MAGIC) & (words[:, 1] == length) & (rest >= 0)
        whole &= offsets[rows] + 8 + length + -length % 4 <= records.size
        for row in start + np.flatnonzero(~whole):
            content = unpack_content(
                records.payload(int(offsets[row]), keys[row]), RecordPlace(records.path, keys[row])
            )
            labels[row] = content.labels[0], content.labels[-1]
            is_range[row] = len(content.labels) > 1 and not content.image
    return RecordHeaders(labels, is_range)


def check_whole(
    numbers: npt.NDArray[np.float32], keys: npt.NDArray[np.int64], records: RecordFile, *, largest: int
) -> npt.NDArray[np.int64]:
    """(N,) labels of the records with (N,) keys as int64.

    Raises:
        DataError: one is not a whole number from 0 to `largest`; the record is named.
    """
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= largest) & (np.floor(numbers) == numbers)))
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"the label is {numbers[row]}, not a whole number from 0 to {largest}",
            place=RecordPlace(records.path, keys[row]),
            next_step="The file is damaged, or its labels are no identities",
        )
    return numbers.astype(np.int64)
