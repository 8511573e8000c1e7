"""The same picture twice: equal files, equal pixels, and copies that were re-encoded, resized or cropped anew."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.inspection.photo_hash import HASH_BYTES, VIEWS, fine_detail, same_picture_score
from facedistill.inspection.scan import Scan

Indices = npt.NDArray[np.int64]

SAME_PICTURE = 0.75
"""Correlation of the fine detail from which two images are one picture (ours).

Measured on 7,701 aligned LFW crops: copies (JPEG quality 30, half the size, brighter, shifted by 3 pixels, turned by 2
degrees, enlarged by 5 %) stay above; the most alike of different pictures of two people
stay below 0.67, here and among LFW's 13,233 photos.
"""

_MOST_DIFFERENT_BITS = 26  # of 128; copies as above differ in fewer, two faces hardly ever (ours)
_NEIGHBOURS = 8  # on either side of a hash in a sorted list
_QUERIES_AT_ONCE = 1 << 15
# Of so few images every pair is compared: their medians say little.
_FEW_IMAGES = 48
# Pairs that are decoded and compared at most, those of the most similar hashes first: a bound on time.
_MOST_CHECKED = 200_000
_PIECE = 1024
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are equal.

    Attributes:
        names: two or more, sorted.
        same_bytes: whether the files are equal too, or only the pixels.
        identities: how many identities they are filed under; above 1 this is a label error or a leak.
    """

    names: tuple[str, ...]
    same_bytes: bool
    identities: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"names": list(self.names), "same_bytes": self.same_bytes, "identities": self.identities}


@dataclass(frozen=True)
class NearDuplicate:
    """One picture in two versions, under two identities or in two data sets.

    `score` is the correlation of their fine detail, up to 1.
    """

    first: str
    second: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"first": self.first, "second": self.second, "score": round(self.score, 4)}


def exact_duplicates(scan: Scan) -> list[DuplicateGroup]:
    """The groups of images with equal pixels; equal files have these too."""
    groups: list[DuplicateGroup] = []
    if not len(scan):
        return groups
    order = np.argsort(scan.pixel_digests, kind="stable")
    starts = np.flatnonzero(np.diff(scan.pixel_digests[order], prepend=~scan.pixel_digests[order[:1]])).tolist()
    for first, last in zip(starts, [*starts[1:], len(order)], strict=True):
        if last - first > 1:
            members = order[first:last]
            groups.append(
                DuplicateGroup(
                    names=tuple(scan.names[index] for index in members),
                    same_bytes=len(np.unique(scan.byte_digests[members])) == 1,
                    identities=len(np.unique(scan.labels[members])),
                )
            )
    return sorted(groups, key=lambda group: (-group.identities, group.names))


def near_duplicates(scan: Scan, *, workers: int = 1) -> tuple[list[NearDuplicate], int]:
    """The pairs of one picture under two identities whose pixels differ, best first, and the candidates left unchecked.

    Candidates come from sorted lists of hashes, so their number grows with the images and not with their square; each
    is then decoded again and compared by `same_picture_score`.
    """
    usable = _distinct(scan)
    pairs = usable[candidate_pairs(scan.hashes[usable], scan.labels[usable])]
    return _compare(scan, scan, pairs, workers)


def near_duplicates_between(scan: Scan, other: Scan, *, workers: int = 1) -> tuple[list[NearDuplicate], int]:
    """The pairs of one picture in two data sets whose pixels differ, `first` in `scan` and `second` in `other`.

    Args:
        scan: one of them.
        other: the other one, hashed with the medians of `scan`.
        workers: threads that decode.

    Returns:
        As `near_duplicates` does.
    """
    usable = _distinct(scan), _distinct(other)
    sides = np.repeat(np.arange(2), [len(some) for some in usable])
    hashes = np.concatenate([scan.hashes[usable[0]], other.hashes[usable[1]]])
    codes = candidate_pairs(hashes, sides)
    pairs = np.stack([usable[0][codes[:, 0]], usable[1][codes[:, 1] - len(usable[0])]], axis=1)
    different = scan.pixel_digests[pairs[:, 0]] != other.pixel_digests[pairs[:, 1]]
    return _compare(scan, other, pairs[different], workers)


def _distinct(scan: Scan) -> Indices:
    """One image of each that are equal, but for the blank ones."""
    _, representatives = np.unique(scan.pixel_digests, return_index=True)
    return np.sort(representatives[scan.hashed[representatives]]).astype(np.int64)


def _compare(scan: Scan, other: Scan, pairs: Indices, workers: int) -> tuple[list[NearDuplicate], int]:
    """Those of the candidates (P, 2) that show one picture, best first, and the number of those left unchecked."""
    pairs, unchecked = pairs[:_MOST_CHECKED], max(len(pairs) - _MOST_CHECKED, 0)
    found = []

    def score(pair: Indices) -> float:
        return _score(scan, int(pair[0]), other, int(pair[1]))

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="compare") as pool:
        for start in range(0, len(pairs), _PIECE):
            piece = pairs[start : start + _PIECE]
            for (first, second), value in zip(piece, pool.map(score, piece), strict=True):
                if value >= SAME_PICTURE:
                    found.append(NearDuplicate(scan.names[first], other.names[second], value))
    return sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second)), unchecked


def candidate_pairs(hashes: npt.NDArray[np.uint8], labels: Indices) -> Indices:
    """Pairs of different labels whose hashes differ in few bits at some shift.

    The hashes are sorted once for each of their 16 bytes, beginning with that byte: two that share a band of bytes
    become neighbours in the list of its first byte. Each hash of each view looks at a fixed number of neighbours.

    Args:
        hashes: (N, views, 16) uint8.
        labels: (N,) int64.

    Returns:
        (P, 2) int64, the smaller index first, the most similar pair first.
    """
    count = len(hashes)
    if count <= _FEW_IMAGES:
        first, second = np.triu_indices(count, 1)
        different = labels[first] != labels[second]
        return np.stack([first[different], second[different]], axis=1).astype(np.int64)
    codes = np.zeros(0, np.int64)
    distances = np.zeros(0, np.uint8)
    for first_byte in range(HASH_BYTES):
        found = list(_neighbours(hashes, labels, first_byte))
        codes, distances = _nearest_of_each(
            np.concatenate([codes, *(pair_codes for pair_codes, _ in found)]),
            np.concatenate([distances, *(bits for _, bits in found)]),
        )
    order = np.lexsort((codes, distances))
    return np.stack(np.divmod(codes[order], count), axis=1)


def _neighbours(
    hashes: npt.NDArray[np.uint8], labels: Indices, first_byte: int
) -> Iterator[tuple[Indices, npt.NDArray[np.uint8]]]:
    """Codes (smaller index * N + larger) and differing bits of close hashes in one sorted list."""
    count = len(hashes)
    plain = np.ascontiguousarray(hashes[:, 0])
    keys = _keys(plain, first_byte)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    for view in range(len(VIEWS)):
        for start in range(0, count, _QUERIES_AT_ONCE):
            queries = np.arange(start, min(start + _QUERIES_AT_ONCE, count))
            wanted = np.ascontiguousarray(hashes[queries, view])
            places = np.searchsorted(keys, _keys(wanted, first_byte))
            for step in range(-_NEIGHBOURS, _NEIGHBOURS):
                others = order[np.clip(places + step, 0, count - 1)]
                bits = _BITS[wanted ^ plain[others]].sum(axis=1, dtype=np.uint8)
                close = (bits <= _MOST_DIFFERENT_BITS) & (labels[queries] != labels[others])
                if close.any():
                    one, other = queries[close], others[close]
                    yield np.minimum(one, other) * count + np.maximum(one, other), bits[close]


def _keys(hashes: npt.NDArray[np.uint8], first_byte: int) -> npt.NDArray[np.uint64]:
    """(N,) uint64: eight bytes of (N, 16) hashes from `first_byte` on, round the end, the first the heaviest."""
    rolled = np.ascontiguousarray(np.roll(hashes, -first_byte, axis=1)[:, :8])
    return rolled.view(">u8")[:, 0].astype(np.uint64)


def _nearest_of_each(codes: Indices, distances: npt.NDArray[np.uint8]) -> tuple[Indices, npt.NDArray[np.uint8]]:
    """Each code once, with its smallest distance."""
    order = np.lexsort((distances, codes))
    codes, distances = codes[order], distances[order]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    return codes[first], distances[first]


def _score(scan: Scan, first: int, other: Scan, second: int) -> float:
    try:
        one = scan.source.image(int(scan.indices[first]))
        another = other.source.image(int(other.indices[second]))
        return same_picture_score(fine_detail(one), fine_detail(another))
    except (DataError, MemoryError, cv2.error):  # gone since it was read, or huge
        return -1.0
