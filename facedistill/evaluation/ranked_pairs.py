"""The pairs of a data set from the most similar on, as far as a low FAR needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.evaluation.pair_blocks import pair_blocks

_CELLS_AT_ONCE = 1 << 21  # Cosines of one block: 8 MiB, and some times as much for finding the largest.

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RankedPairs:
    """All genuine pairs, and the most similar of the impostor pairs; both begin with the most similar.

    Args:
        genuine_people: (G,) int32 person of each genuine pair.
        first: (K,) int32 first image of each impostor pair.
        second: (K,) int32 its second image.
        cosines: (K,) float32 of the impostor pairs.
        genuine_above: (K,) int64, how many genuine pairs are more similar than each impostor pair; as many are
            accepted where that impostor pair is the first that is refused.
    """

    genuine_people: Indices
    first: Indices
    second: Indices
    cosines: npt.NDArray[np.float32]
    genuine_above: npt.NDArray[np.int64]


def rank_pairs(embeddings: npt.NDArray[np.floating], people: npt.NDArray[np.int64], kept: int) -> RankedPairs:
    """Rank all pairs of (N, D) unit embeddings of (N,) people, in blocks and in float32.

    Args:
        embeddings: each of length 1.
        people: person of each image, 0 to the number of people - 1.
        kept: how many impostor pairs to keep. Of equally similar ones at the end of these any may be kept.
    """
    genuine_cosines: list[npt.NDArray[np.float32]] = []
    genuine_people: list[Indices] = []
    nearest = _NearestImpostors(kept)
    for block in pair_blocks(np.asarray(embeddings, dtype=np.float32), people, cells=_CELLS_AT_ONCE):
        genuine_cosines.append(block.cosines[block.genuine])
        genuine_people.append(people[block.start + np.nonzero(block.genuine)[0]].astype(np.int32))
        candidates = np.flatnonzero(block.impostor & (block.cosines > nearest.least))
        cosines = block.cosines.ravel()[candidates]
        largest = _largest(cosines, kept)
        rows, columns = np.divmod(candidates[largest], block.cosines.shape[1])
        first, second = ((block.start + images).astype(np.int32) for images in (rows, columns))
        nearest.add(cosines[largest], first, second)
    together = np.concatenate(genuine_cosines)
    order = np.argsort(-together, kind="stable")
    cosines, first, second = nearest.sorted()
    above = np.searchsorted(-together[order], -cosines, side="left")
    return RankedPairs(np.concatenate(genuine_people)[order], first, second, cosines, above.astype(np.int64))


def _largest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` largest, in no order; of all where there are no more."""
    if len(values) <= count:
        return np.arange(len(values), dtype=np.int64)
    return np.argpartition(values, len(values) - count)[-count:].astype(np.int64)


class _NearestImpostors:
    """The `count` most similar impostor pairs of those added.

    Attributes:
        least: what is no more similar than this needs not be added.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._cosines = np.empty(0, dtype=np.float32)
        self._first, self._second = (np.empty(0, dtype=np.int32) for _ in range(2))
        self.least = -np.inf

    def add(self, cosines: npt.NDArray[np.float32], first: Indices, second: Indices) -> None:
        merged = np.concatenate([self._cosines, cosines])
        kept = _largest(merged, self._count)
        self._cosines = merged[kept]
        self._first = np.concatenate([self._first, first])[kept]
        self._second = np.concatenate([self._second, second])[kept]
        if len(kept) == self._count:
            self.least = float(self._cosines.min())

    def sorted(self) -> tuple[npt.NDArray[np.float32], Indices, Indices]:
        """Cosines, falling, and the images of each."""
        order = np.argsort(-self._cosines, kind="stable")
        return self._cosines[order], self._first[order], self._second[order]
