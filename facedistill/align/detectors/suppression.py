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
    # A table with a row a group, the largest group first: (G, M) places in `order`; the cells past a group's end are
    # dead. A rank has to do with the groups in which its box is still alive, and with the columns that these fill.
    by_size = np.argsort(-sizes, kind="stable")
    sizes, starts = sizes[by_size], starts[by_size]
    ranks = np.arange(sizes[0])
    alive = ranks < sizes[:, None]
    table = order[np.where(alive, starts[:, None] + ranks, 0)]
    x1, y1, x2, y2 = (boxes[:, side][table] for side in range(4))
    areas = (x2 - x1) * (y2 - y1)
    for rank in ranks[:-1]:
        judges = np.flatnonzero(alive[:, rank])
        if not len(judges) or sizes[judges[0]] == rank + 1:
            continue
        judged = slice(rank + 1, sizes[judges[0]])
        width = np.minimum(x2[judges, rank, None], x2[judges, judged])
        width -= np.maximum(x1[judges, rank, None], x1[judges, judged])
        height = np.minimum(y2[judges, rank, None], y2[judges, judged])
        height -= np.maximum(y1[judges, rank, None], y1[judges, judged])
        shared = width.clip(min=0) * height.clip(min=0)
        mine, theirs = areas[judges, rank, None], areas[judges, judged]
        whole = np.minimum(mine, theirs) if against_smaller else mine + theirs - shared
        alive[judges, judged] &= shared <= threshold * whole
    back = np.argsort(by_size)
    return np.asarray(table[back][alive[back]])


def best_of_each(scores: Floats, groups: Indices, most: int) -> Indices:
    """Indices of the `most` highest scores of each group, group after group, best first.

    Args:
        scores: (N,).
        groups: (N,), as for `suppress`.
        most: how many of a group at most.
    """
    order = np.lexsort((-scores, groups))
    owners = groups[order]
    return np.asarray(order[np.arange(len(order)) - np.searchsorted(owners, owners) < most])
