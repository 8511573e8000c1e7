"""Batches that hold hard negatives by construction: people that the teacher finds alike are put together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from facedistill.data.decoding import Indices

# Rows of the similarity matrix that are computed at once: 4096 x 360,000 float32 are 6 GB, and half of that suffices.
_MOST_ELEMENTS = 1 << 28


@dataclass(frozen=True, eq=False)
class LookalikeGraph:
    """For each identity the identities whose centres are nearest to its own.

    Args:
        neighbours: (C, k) int64, the nearest first, itself left out.
        bunch: how many people that look alike come into a batch together, at least 2.
    """

    neighbours: Indices
    bunch: int

    def among(self, people: Indices) -> LookalikeGraph:
        """The graph of some people only, renumbered 0 .. len(people) - 1; -1 stands where a neighbour is not one."""
        return LookalikeGraph(self.between(people, people), self.bunch)

    def between(self, people: Indices, others: Indices) -> Indices:
        """(len(people), k) the neighbours among `others`, as places in `others`, -1 for all else."""
        place = np.full(len(self.neighbours), -1, dtype=np.int64)
        place[others] = np.arange(len(others))
        return place[self.neighbours[people]]


def lookalike_graph(
    embeddings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    bunch: int,
    nearest: int = 50,
    device: torch.device | None = None,
) -> LookalikeGraph:
    """Who looks like whom by a teacher's embeddings.

    Args:
        embeddings: (N, D) float32, of any length.
        labels: (N,) int64, 0 .. C - 1, each present.
        bunch: people that come into a batch together.
        nearest: neighbours that are kept of each identity.
        device: where the similarities are computed.
    """
    device = torch.device("cpu") if device is None else device
    count = int(labels.max()) + 1
    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings), dim=1)
    centres = torch.zeros(count, embeddings.shape[1]).index_add_(0, torch.from_numpy(labels), unit)
    centres = torch.nn.functional.normalize(centres, dim=1).to(device)
    kept = min(nearest, count - 1)
    neighbours = np.empty((count, kept), dtype=np.int64)
    rows = max(1, _MOST_ELEMENTS // count)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        cosine = centres[start:stop] @ centres.T
        cosine[torch.arange(stop - start), torch.arange(start, stop)] = -2.0
        neighbours[start:stop] = cosine.topk(kept, dim=1).indices.cpu().numpy()
    return LookalikeGraph(neighbours, bunch)


def deal_alike(
    groups: Indices, batches: int, places: int, graph: LookalikeGraph, generator: np.random.Generator
) -> list[Indices]:
    """Who is in which batch: person i in `groups[i]` different ones, in bunches of people that look alike.

    Whoever has as many groups left as there are batches is taken first, so that nobody's groups are left over. Then
    people are drawn at random, and each brings those of his nearest neighbours that still have groups.

    Args:
        groups: (C,) groups of each person, none above `batches`, together `batches * places`.
        batches: T.
        places: people in a batch.
        graph: of these C people.
        generator: decides the order.

    Returns:
        T arrays of `places` different people, 0 .. C - 1.
    """
    left = groups.copy()
    queue = deque(generator.permutation(np.repeat(np.arange(len(groups)), groups)).tolist())
    dealt = []
    for number in range(batches):
        chosen = np.flatnonzero(left >= batches - number).tolist()
        taken = set(chosen)
        deferred: dict[int, None] = {}
        while len(chosen) < places:
            # Who was deferred twice in one batch is drawn less often; then some may be left when the queue is not.
            seed = queue.popleft() if queue else next(int(one) for one in np.flatnonzero(left) if one not in taken)
            if seed in taken:
                deferred[seed] = None
            elif left[seed]:
                bunch = _bunch(seed, left, taken, graph, places - len(chosen))
                chosen += bunch
                taken.update(bunch)
        queue.extendleft(reversed(deferred))
        left[chosen] -= 1
        dealt.append(np.array(chosen, dtype=np.int64))
    return dealt


def _bunch(seed: int, left: Indices, taken: set[int], graph: LookalikeGraph, room: int) -> list[int]:
    """`seed` and his nearest neighbours that are free, `graph.bunch` in all unless there is less room."""
    bunch = [seed]
    for person in graph.neighbours[seed].tolist():
        if len(bunch) >= min(graph.bunch, room):
            break
        if person >= 0 and left[person] and person not in taken:
            bunch.append(person)
    return bunch


def singles_alike(dealt: list[Indices], order: Indices, sizes: list[int], neighbours: Indices) -> list[Indices]:
    """Which single images come into which batch: those that look like the people in it, then any.

    Args:
        dealt: the people of each batch.
        order: single images, each once, in random order.
        sizes: how many each batch gets, together no more than there are.
        neighbours: (C, k) int64, the nearest single images of each person, -1 for none.

    Returns:
        One array of single images for each batch, without repetition.
    """
    free = np.zeros(int(order.max(initial=-1)) + 1, dtype=np.bool_)
    free[order] = True
    unused = iter(order.tolist())
    result = []
    for people, size in zip(dealt, sizes, strict=True):
        # Column by column: everybody's nearest first, then everybody's second.
        near = neighbours[people].T.ravel()
        near = near[(near >= 0) & (near < len(free))]
        chosen = list(dict.fromkeys(near[free[near]].tolist()))[:size]
        free[chosen] = False
        while len(chosen) < size:
            one = next(unused)
            if free[one]:
                chosen.append(one)
                free[one] = False
        result.append(np.array(chosen, dtype=np.int64))
    return result
