"""Which channels go: those that weigh least in the whole network, as many as the target asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from facedistill.errors import UsageError
from facedistill.prune.groups import ChannelGroup

# Share of its channels that every layer keeps, whatever the ranking says, and how many at least; both ours.
FLOOR = 0.2
LEAST = 2
# Channels are left in multiples of the first of these with which the target is met to within `CLOSE` of it, since
# processors work on so many at a time: of two prunings of MobileFaceNet to the same multiply-adds, onnxruntime ran the
# one with multiples of 8 in a fifth less time. Ours.
MULTIPLES = (8, 4, 1)
CLOSE = 0.02

Removed = list[npt.NDArray[np.bool_]]
"""Of each group, (U,) which of its units go."""


def choose(
    groups: Sequence[ChannelGroup], share_left: Callable[[Removed], float], target: float, *, what: str
) -> Removed:
    """The least important units, so many that the share that is left comes nearest to the target.

    Args:
        groups: of the network.
        share_left: what is left of the network without these units, in [0, 1]; falls with every unit.
        target: what is asked to be left.
        what: what the share is of, for messages.

    Raises:
        UsageError: so much cannot be removed, or removing anything would overshoot.
    """
    turns = ranking(groups)
    removed: Removed = []
    for multiple in MULTIPLES:
        removed = nearest(groups, turns, share_left, target, multiple)
        if removes_any(removed) and abs(share_left(removed) - target) <= CLOSE * target:
            return removed
    least = share_left(first_of(groups, turns, len(turns), MULTIPLES[-1]))
    if least > target:
        raise UsageError(
            f"{target:.4g} of the {what} cannot be reached: where each layer keeps {FLOOR:.0%} of its channels, as it "
            f"has to, {least:.3f} of them are left",
            next_step="Leave more, or take a smaller network",
        )
    if not removes_any(removed):
        raise UsageError(
            f"{target:.4g} of the {what} are left by the network as it is: without its least important channel it has "
            f"{share_left(first_of(groups, turns, 1, MULTIPLES[-1])):.3f} of them",
            next_step="Leave less",
        )
    return removed


def ranking(groups: Sequence[ChannelGroup]) -> list[int]:
    """The group that loses its next unit, turn by turn: the least important units of the whole network come first.

    A group has no more turns once it is down to its share `FLOOR`, or to `LEAST`.
    """
    listed: list[tuple[float, int]] = []
    for index, group in enumerate(groups):
        units = len(group.units)
        kept = max(LEAST, int(np.ceil(FLOOR * units)))
        listed += [(float(score), index) for score in np.sort(group.scores)[: max(0, units - kept)]]
    return [index for _, index in sorted(listed)]


def first_of(groups: Sequence[ChannelGroup], turns: Sequence[int], count: int, multiple: int) -> Removed:
    """What goes in the first so many turns, rounded in each group so that the nearest multiple of units is left.

    A group whose floor is above that keeps the next multiple, and one that has no such multiple keeps all.
    """
    most = np.bincount(turns, minlength=len(groups))
    losses = np.bincount(turns[:count], minlength=len(groups))
    removed = []
    for group, loss, greatest in zip(groups, losses.tolist(), most.tolist(), strict=True):
        units = len(group.units)
        floor = -(-(units - greatest) // multiple) * multiple
        left = min(units, max(floor, multiple * round((units - loss) / multiple)))
        gone = np.zeros(units, dtype=np.bool_)
        if loss:
            gone[np.argsort(group.scores, kind="stable")[: units - left]] = True
        removed.append(gone)
    return removed


def nearest(
    groups: Sequence[ChannelGroup],
    turns: Sequence[int],
    share_left: Callable[[Removed], float],
    target: float,
    multiple: int,
) -> Removed:
    """What goes in so many turns that the share that is left is nearest to the target, by bisection."""

    def left(count: int) -> float:
        return share_left(first_of(groups, turns, count, multiple))

    few, many = 0, len(turns)
    while many - few > 1:
        middle = (few + many) // 2
        if left(middle) > target:
            few = middle
        else:
            many = middle
    best = min(few, many, key=lambda count: abs(left(count) - target))
    return first_of(groups, turns, best, multiple)


def removes_any(removed: Removed) -> bool:
    """Whether anything goes."""
    return any(bool(gone.any()) for gone in removed)
