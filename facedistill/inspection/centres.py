"""Centres of identities, and the search among them: in blocks, so that memory does not grow with their square."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

MOST_PAIRS = 100_000
"""Pairs that a search keeps at most, the closest ones: a bound on memory."""

_BLOCK = 2048
_ROWS = 1 << 16  # images whose sums are taken at once


def unit(vectors: Floats) -> Floats:
    """(N, D) float32 brought to length 1; a row of zeros stays one, so that it is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)


def sums_of(embeddings: Floats, labels: Indices, count: int) -> Floats:
    """(count, D) float32: the sum of the embeddings (N, D) of each label; those below 0 belong to none."""
    sums = np.zeros((count, embeddings.shape[1]), dtype=np.float32)
    for start in range(0, len(labels), _ROWS):
        rows = np.flatnonzero(labels[start : start + _ROWS] >= 0) + start
        np.add.at(sums, labels[rows], embeddings[rows])
    return sums


def nearest_other(vectors: Floats, centres: Floats, own: Indices) -> tuple[Indices, Floats]:
    """For each of (N, D) vectors the row of the most similar centre but row `own` (N,) of it, and the cosine."""
    nearest = np.full(len(vectors), -1, dtype=np.int64)
    cosines = np.full(len(vectors), -2, dtype=np.float32)
    for rows, columns, block in _blocks(vectors, centres):
        lines = np.arange(len(block))
        inside = (own[rows] >= columns.start) & (own[rows] < columns.stop)
        block[lines[inside], own[rows][inside] - columns.start] = -2
        best = block.argmax(axis=1)
        better = block[lines, best] > cosines[rows]
        cosines[rows] = np.where(better, block[lines, best], cosines[rows])
        nearest[rows] = np.where(better, best + columns.start, nearest[rows])
    return nearest, cosines


def close_pairs(first: Floats, second: Floats | None, threshold: float) -> tuple[Indices, Floats, int]:
    """Pairs of rows whose cosine is `threshold` or more, the closest first.

    Args:
        first: (A, D) float32 of length 1.
        second: (B, D) likewise; None looks for pairs within `first`, each once with the smaller row first.
        threshold: lowest cosine.

    Returns:
        (P, 2) int64 rows, (P,) float32 cosines, and how many were left out beyond `MOST_PAIRS`.
    """
    pairs, cosines, found = np.zeros((0, 2), np.int64), np.zeros(0, np.float32), 0
    for rows, columns, block in _blocks(first, first if second is None else second, upper=second is None):
        if second is None and columns.start == rows.start:
            block[np.tril_indices(len(block), 0, block.shape[1])] = -2
        found += int(np.count_nonzero(block >= threshold))
        # Once the list is full only what is closer than its last pair matters.
        full = len(cosines) == MOST_PAIRS
        one, other = np.nonzero(block > cosines[-1] if full else block >= threshold)
        if len(one):
            new = np.stack([one + rows.start, other + columns.start], axis=1).astype(np.int64)
            pairs, cosines = np.concatenate([pairs, new]), np.concatenate([cosines, block[one, other]])
            order = np.lexsort((pairs[:, 1], pairs[:, 0], -cosines))[:MOST_PAIRS]
            pairs, cosines = pairs[order], cosines[order]
    return pairs, cosines, found - len(pairs)


def _blocks(first: Floats, second: Floats, *, upper: bool = False) -> Iterator[tuple[slice, slice, Floats]]:
    """Rows, columns and cosines of one block after another; `upper` leaves out those below the diagonal."""
    for start in range(0, len(first), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(first)))
        for column in range(start if upper else 0, len(second), _BLOCK):
            columns = slice(column, min(column + _BLOCK, len(second)))
            yield rows, columns, first[rows] @ second[columns].T
