"""Search a gallery for each probe: how similar its mate is, and how many strangers are as similar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOBODY = -1
"""The person of a distractor: nobody's mate, whoever is looked for."""

_PROBES_AT_ONCE, _ENTRIES_AT_ONCE = 1 << 10, 1 << 12  # Cosines of one block in float64: 32 MiB.


@dataclass(frozen=True, eq=False)
class Searches:
    """What a search of the whole gallery gives for each of P probes.

    Args:
        mated: (P,) bool, whether the probe's person has an entry.
        mate: (P,) float32 cosine of the most similar entry of the same person, -inf without one.
        rank: (P,) int64 place of that entry from 1 on, 0 without one. Entries of others that are exactly as similar
            stand before it, so that a model which finds everybody alike ranks last and not first.
        other: (P,) float32 cosine of the most similar entry of others, -inf without one.
    """

    mated: npt.NDArray[np.bool_]
    mate: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int64]
    other: npt.NDArray[np.float32]


def search_gallery(
    probes: npt.NDArray[np.floating],
    probe_people: npt.NDArray[np.int64],
    gallery: npt.NDArray[np.floating],
    gallery_people: npt.NDArray[np.int64],
) -> Searches:
    """Compare every probe with every entry, in blocks.

    The products are made in float64 and compared as float32: equal descriptors then have equal cosines, wherever in
    a block they stand.

    Args:
        probes: (P, D) unit descriptors.
        probe_people: (P,) the person of each.
        gallery: (G, D) unit descriptors.
        gallery_people: (G,) the person of each entry; one person may have several; `NOBODY` for distractors.
    """
    mate = np.full(len(probes), -np.inf, dtype=np.float32)
    other = np.full(len(probes), -np.inf, dtype=np.float32)
    rank = np.zeros(len(probes), dtype=np.int64)
    order = np.argsort(gallery_people, kind="stable")
    for start in range(0, len(probes), _PROBES_AT_ONCE):
        part = slice(start, start + _PROBES_AT_ONCE)
        block = probes[part].astype(np.float64, copy=False)
        rows, entries = _mates(probe_people[part], gallery_people, order)
        for first in range(0, len(rows), _ENTRIES_AT_ONCE):
            some = slice(first, first + _ENTRIES_AT_ONCE)
            cosines = np.einsum("pd,pd->p", block[rows[some]], gallery[entries[some]].astype(np.float64, copy=False))
            np.maximum.at(mate, start + rows[some], cosines.astype(np.float32))
        for first in range(0, len(gallery), _ENTRIES_AT_ONCE):
            some_of_all = gallery[first : first + _ENTRIES_AT_ONCE].astype(np.float64, copy=False)
            found = (block @ some_of_all.T).astype(np.float32)
            here = (entries >= first) & (entries < first + _ENTRIES_AT_ONCE)
            found[rows[here], entries[here] - first] = -np.inf
            rank[part] += np.count_nonzero(found >= mate[part, np.newaxis], axis=1)
            other[part] = np.maximum(other[part], found.max(axis=1))
    mated = np.isfinite(mate)
    return Searches(mated, mate, np.where(mated, rank + 1, 0), other)


def _mates(
    probe_people: npt.NDArray[np.int64], gallery_people: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every pair of a probe and an entry of one person: (M,) rows of the probes and (M,) entries of the gallery."""
    lows = np.searchsorted(gallery_people, probe_people, side="left", sorter=order)
    counts = np.searchsorted(gallery_people, probe_people, side="right", sorter=order) - lows
    counts[probe_people == NOBODY] = 0
    rows = np.repeat(np.arange(len(probe_people)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[lows[rows] + within]
