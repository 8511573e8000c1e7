"""Draw distinct pairs evenly: of the images of one person, or of two people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def even_counts(capacities: Indices, total: int, rng: np.random.Generator) -> Indices:
    """How many of `total` each of (N,) takes, none more than its capacity and as evenly as that allows.

    It is what dealing them one at a time, round and round, gives; who takes one more in the last round is random.

    Raises:
        ValueError: the capacities do not add up to `total`.
    """
    if int(capacities.sum()) < total:
        raise ValueError(f"{int(capacities.sum())} is less than {total}")
    counts = np.zeros_like(capacities)
    while (left := total - int(counts.sum())) > 0:
        open_ones = np.flatnonzero(counts < capacities)
        if left < len(open_ones):
            counts[rng.choice(open_ones, left, replace=False)] += 1
        else:
            rounds = min(left // len(open_ones), int((capacities - counts)[open_ones].min()))
            counts[open_ones] += rounds
    return counts


def within(images: Indices, count: int, rng: np.random.Generator) -> Indices:
    """(count, 2) distinct pairs of different `images` (N,), without order; at random."""
    number = len(images)
    ranks = rng.choice(number * (number - 1) // 2, count, replace=False)
    # Pair (i, j), i < j, has the rank j (j - 1) / 2 + i; the root may be off by one where floats end.
    second = ((1 + np.sqrt(1 + 8 * ranks.astype(np.float64))) / 2).astype(np.int64)
    second -= (second * (second - 1) // 2 > ranks).astype(np.int64)
    second += (second * (second + 1) // 2 <= ranks).astype(np.int64)
    return np.stack([images[ranks - second * (second - 1) // 2], images[second]], axis=1)


def between(people: list[Indices], count: int, rng: np.random.Generator) -> Indices:
    """(count, 2) distinct pairs of images of different people, at random.

    Two people are drawn first and then an image of each, so that somebody with many images is in no more pairs than
    others; where there are more pairs to draw than pairs of people, these take turns.

    Args:
        people: the images of each person, at least one.
        count: no more than there are such pairs.
        rng: where the chances come from.
    """
    number = len(people)
    couples = number * (number - 1) // 2
    if count <= couples:
        chosen, counts = within(np.arange(number), count, rng), np.ones(count, dtype=np.int64)
    else:
        chosen = np.stack(np.triu_indices(number, 1), axis=1).astype(np.int64)
        sizes = np.array([len(images) for images in people], dtype=np.int64)
        counts = even_counts(sizes[chosen[:, 0]] * sizes[chosen[:, 1]], count, rng)
    pairs = []
    for (first, second), each in zip(chosen.tolist(), counts.tolist(), strict=True):
        ranks = rng.choice(len(people[first]) * len(people[second]), each, replace=False)
        rows, columns = np.divmod(ranks, len(people[second]))
        pairs.append(np.stack([people[first][rows], people[second][columns]], axis=1))
    return np.concatenate(pairs)


def most_similar_between(people: list[Indices], embeddings: npt.NDArray[np.float64], count: int) -> Indices:
    """(<= count, 2) pairs of images of different people, the most similar first; one a pair of people, while possible.

    Of each two people the most alike images come first, the most alike couples leading, then their second most alike
    images, and so on: two folders of one person would fill the list otherwise.

    Args:
        people: rows of `embeddings` of each person.
        embeddings: (N, D) of length 1.
        count: how many are wanted.
    """
    rows = np.concatenate(people)
    owner = np.repeat(np.arange(len(people)), [len(images) for images in people])
    cosines = embeddings[rows] @ embeddings[rows].T
    first, second = np.nonzero(np.triu(owner[:, np.newaxis] != owner[np.newaxis, :], 1))
    values = cosines[first, second]
    # Rows are in the order of their people, so that owner[first] < owner[second].
    couple = owner[first] * len(people) + owner[second]
    order = np.lexsort((np.arange(len(values)), -values, couple))
    sorted_couples = couple[order]
    starts = np.flatnonzero(np.r_[True, sorted_couples[1:] != sorted_couples[:-1]])
    turn = np.empty(len(order), dtype=np.int64)
    turn[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    best = np.lexsort((np.arange(len(values)), -values, turn))[:count]
    return np.stack([rows[first[best]], rows[second[best]]], axis=1)
