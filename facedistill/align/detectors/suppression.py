"""Non-maximum suppression in many groups of boxes at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


def suppress(
    boxes: Floats,
    scores: Floats,
    threshold: float,
    *,
    groups: Indices | None = None,
    against_smaller: bool = False,
) -> Indices:
    """Indices of the boxes to keep, group after group, best score first within a group.

    A box goes when a kept one of the same group and a higher score overlaps it by more than `threshold` of their
    union, or, with `against_smaller`, of the smaller of the two (which also removes a box inside another). Of equal
    scores (1.0 is common) the last one counts as the higher, as in the code that MTCNN's weights came with. The loop
    runs over ranks, in all groups together, and not over boxes.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        threshold: 0 to 1.
        groups: (N,) any numbers that tell groups (photos, scales, classes) apart; None for one group.
        against_smaller: see above.
    """
    if not len(boxes):
        return np.zeros(0, dtype=np.intp)
    groups = np.zeros(len(boxes), dtype=np.intp) if groups is None else groups
    order = np.lexsort((-np.arange(len(boxes)), -scores, groups))
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    # A table with a row a group: (G, M) places in `order`, M the size of the largest group; empty cells are dead.
    ranks = np.arange(sizes.max())
    alive = ranks < sizes[:, None]
    table = order[np.where(alive, starts[:, None] + ranks, 0)]
    corners = boxes[table]
    areas = (corners[..., 2:] - corners[..., :2]).prod(axis=2)
    for rank in ranks[:-1]:
        judges = alive[:, rank]
        best, rest = corners[judges, rank, None], corners[judges, rank + 1 :]
        upper = np.maximum(best[..., :2], rest[..., :2])
        lower = np.minimum(best[..., 2:], rest[..., 2:])
        shared = (lower - upper).clip(min=0).prod(axis=2)
        mine, theirs = areas[judges, rank, None], areas[judges, rank + 1 :]
        whole = np.minimum(mine, theirs) if against_smaller else mine + theirs - shared
        alive[judges, rank + 1 :] &= shared <= threshold * whole
    return np.asarray(table[alive])
