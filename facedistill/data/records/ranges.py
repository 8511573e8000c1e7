"""Which image belongs to whom in insightface's layout of a `.rec` file, where it can be told without the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.data.records.header import LARGEST_EXACT, check_whole, read_headers
from facedistill.data.records.index import RecordIndex
from facedistill.data.records.recordio import RecordFile, RecordPlace
from facedistill.errors import DataError

Integers = npt.NDArray[np.int64]


def rounding(numbers: npt.NDArray[np.float32] | Integers) -> Integers:
    """(N,) int64: how far (N,) numbers may lie from the whole numbers that were rounded to float32."""
    exact = np.asarray(numbers, dtype=np.float32)
    return np.where(exact < LARGEST_EXACT, 0, np.spacing(exact) / 2).astype(np.int64)


def owners(keys: Integers, ranges: Integers) -> Integers:
    """(M,) int64, the row of the one range that holds each key, or -1 where that is not sure.

    It is not sure where no range holds the key or several do, nor beside an end beyond 16,777,216: an end was written
    as float32, so it may have been the number before or behind, and the neighbour's end with it.

    Args:
        keys: (M,) int64, ascending.
        ranges: (C, 2) int64, first key and one past the last of each range, rounded to float32.
    """
    low, high = np.searchsorted(keys, ranges[:, 0]), np.searchsorted(keys, ranges[:, 1])
    claims = np.zeros(len(keys) + 1, dtype=np.int64)
    np.add.at(claims, low, 1)
    np.subtract.at(claims, high, 1)
    # Summed up, the rows of all ranges that hold a key give the row of the one range where there is one.
    owner = np.zeros(len(keys) + 1, dtype=np.int64)
    rows = np.arange(len(ranges), dtype=np.int64)
    np.add.at(owner, low, rows)
    np.subtract.at(owner, high, rows)
    single = np.cumsum(claims)[:-1] == 1
    found = np.where(single, np.cumsum(owner)[:-1], -1)
    ends = np.unique(ranges[ranges >= LARGEST_EXACT])
    margins = rounding(ends)
    for first, last in zip(np.searchsorted(keys, ends - margins), np.searchsorted(keys, ends + margins), strict=True):
        found[first:last] = -1
    return found


def identity_rows(records: RecordFile, index: RecordIndex, ends: npt.NDArray[np.float32]) -> slice:
    """The rows of the identity records, whose first key and end record 0 gives.

    Args:
        records: the file.
        index: where its records are.
        ends: (2,) float32, the labels of record 0.

    Raises:
        DataError: these are no keys, or the index lacks some.
    """
    zero = np.zeros(2, dtype=np.int64)
    first, end = (int(number) for number in check_whole(ends, zero, records, largest=1 << 53))
    margins = [int(margin) for margin in rounding(ends)]
    if margins[0]:
        first = _true_first(records, index, first, margins[0])
    if margins[1]:
        end = _true_end(records, index, end, margins[1])
    rows = index.rows(first, end)
    if not 1 <= first < end or rows.stop - rows.start != end - first:
        raise DataError(
            f"the identity records should have the keys {first} to {end - 1}, but "
            f"{f'{records.index} has' if records.index else 'there are'} only {rows.stop - rows.start} of them",
            place=RecordPlace(records.path, 0),
            next_step="The file is truncated or damaged, or its .idx belongs to another; copy or download both again",
        )
    return rows


def identity_ranges(records: RecordFile, index: RecordIndex, rows: slice) -> Integers:
    """(C, 2) int64, the ranges of image keys that the identity records give, first and one past the last.

    Raises:
        DataError: a record is no identity record, or its range reaches beyond the images.
    """
    keys = index.keys[rows]
    headers = read_headers(records, keys, index.offsets[rows])
    wrong = np.flatnonzero(~headers.is_range)
    if len(wrong):
        raise DataError(
            "record 0 counts it among the identity records, but it is none: these have two labels and no image",
            place=RecordPlace(records.path, keys[wrong[0]]),
            next_step="The file is damaged, or its .idx belongs to another; copy or download both again",
        )
    ranges = np.stack([check_whole(headers.labels[:, side], keys, records, largest=1 << 53) for side in (0, 1)], axis=1)
    end_of_images = int(keys[0])
    outside = (
        (ranges[:, 0] < 1) | (ranges[:, 0] > ranges[:, 1]) | (ranges[:, 1] > end_of_images + rounding(ranges[:, 1]))
    )
    wrong = np.flatnonzero(outside)
    if len(wrong):
        first, end = ranges[wrong[0]]
        raise DataError(
            f"its images should have the keys {first} to {end - 1}, but images have 1 to {end_of_images - 1}",
            place=RecordPlace(records.path, keys[wrong[0]]),
            next_step="The file is damaged; copy or download it again",
        )
    return ranges


def _true_first(records: RecordFile, index: RecordIndex, rounded: int, margin: int) -> int:
    """The first key near `rounded` with an identity record; `rounded` where there is none."""
    rows = index.rows(rounded - margin, rounded + margin + 1)
    keys = index.keys[rows]
    found = keys[read_headers(records, keys, index.offsets[rows]).is_range]
    return int(found[0]) if len(found) else rounded


def _true_end(records: RecordFile, index: RecordIndex, rounded: int, margin: int) -> int:
    """One past the last key near `rounded` with an identity record; `rounded` where there is none."""
    rows = index.rows(rounded - margin - 1, rounded + margin)
    keys = index.keys[rows]
    found = keys[read_headers(records, keys, index.offsets[rows]).is_range]
    return int(found[-1]) + 1 if len(found) else rounded
