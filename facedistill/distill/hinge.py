"""The hinge loss over the triplets of a batch, a block of them at a time, with the figures to log."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from facedistill.distill.mining import Block
from facedistill.loss import Figure, LossAndFigures

# Into so many bins of equal width the range of the margins is cut for the log.
BINS = 5


class MarginRange(NamedTuple):
    """The lowest and the highest margin that a map can give."""

    low: float
    high: float


@torch.no_grad()
def largest_gap(blocks: Iterable[Block], distance: torch.Tensor) -> torch.Tensor:
    """The largest T(a, n) - T(a, p) (0-d) among the triplets of the blocks, by distances (B, B); 0 if none is above."""
    largest = distance.new_zeros(())
    for block in blocks:
        to_positive, to_negative = block.distances(distance)
        largest = torch.maximum(largest, torch.where(block.valid, to_negative - to_positive, 0).amax())
    return largest


def hinge_loss(
    blocks: Iterable[Block],
    distance: torch.Tensor,
    margin_of: Callable[[torch.Tensor], torch.Tensor] | float,
    *,
    teacher_distance: torch.Tensor | None = None,
    active_only: bool = False,
    squared: bool = False,
    bins: MarginRange | None = None,
) -> LossAndFigures:
    """Mean over the triplets of max(D(a, p) - D(a, n) + margin, 0); 0 with a gradient of 0 where there is none.

    The loss is linear in D except at its kinks, so its gradient with respect to D(i, j) is a number of triplets: those
    active with j as the positive of i, less those with j as its negative. Counting them block by block needs no graph
    of the triplets, of which there may be B^3 / 4. Squared, each counts by twice what it falls short.

    Args:
        blocks: the triplets.
        distance: (B, B) the student's distances D, with gradient.
        margin_of: from the teacher's gaps T(a, n) - T(a, p) of a block to margins, without gradient; or one margin.
        teacher_distance: (B, B) the teacher's, where the margins are made of its gaps.
        active_only: divide by the triplets whose loss is above 0 rather than by all.
        squared: square what each triplet falls short of its margin.
        bins: the range of the margins, to log their shares in equal parts of it.

    Returns:
        The loss, and the figures `triplets` (a count), `active` (the share whose loss is above 0), the means `margin`,
        `teacher_gap`, `positive_distance` and `negative_distance` over the triplets, and with bins `margin_1of5` to
        `margin_5of5`, the shares of the triplets whose margin lies in each fifth of the range from its low end.
    """
    student = distance.detach()
    slope = torch.zeros_like(student)
    sums: dict[str, torch.Tensor] = {}

    def add(name: str, value: torch.Tensor) -> None:
        sums[name] = sums[name] + value if name in sums else value

    for block in blocks:
        valid = block.valid
        to_positive, to_negative = block.distances(student)
        gap = to_negative - to_positive
        teacher_gap = gap
        if teacher_distance is not None:
            to_positive_by_teacher, to_negative_by_teacher = block.distances(teacher_distance)
            teacher_gap = to_negative_by_teacher - to_positive_by_teacher
            add("teacher_gap", torch.where(valid, teacher_gap, 0).sum())
        margin = margin_of(teacher_gap) if callable(margin_of) else torch.full_like(gap, margin_of)
        violation = margin - gap
        active = valid & (violation > 0)
        short = torch.where(active, violation, 0)
        weight = 2 * short if squared else active.to(gap.dtype)
        add("loss", (short.square() if squared else short).sum())
        add("triplets", valid.sum())
        add("active", active.sum())
        add("margin", torch.where(valid, margin, 0).sum())
        add("positive_distance", (to_positive.squeeze(2) * valid.sum(dim=2)).sum())
        add("negative_distance", torch.where(valid, to_negative, 0).sum())
        if bins is not None:
            add("bins", _count_bins(margin, valid, bins))
        rows = slope[block.anchors]
        rows.scatter_add_(1, block.positive, weight.sum(dim=2))
        if block.negative is None:
            rows.sub_(weight.sum(dim=1))
        else:
            rows.scatter_add_(1, block.negative, -weight.squeeze(2))
    count = sums["triplets"]
    divisor = (sums["active"] if active_only else count).clamp(min=1)
    # The value of the sum, and the gradient of the part that is zero.
    loss = (sums["loss"] + (slope * (distance - student)).sum()) / divisor
    figures = {"triplets": Figure(count, None)}
    means = ("active", "margin", "teacher_gap", "positive_distance", "negative_distance")
    figures |= {name: Figure(sums[name], count) for name in means if name in sums}
    if bins is not None:
        figures |= {
            f"margin_{number}of{BINS}": Figure(total, count) for number, total in enumerate(sums["bins"].unbind(), 1)
        }
    return LossAndFigures(loss, figures)


def _count_bins(margin: torch.Tensor, valid: torch.Tensor, bins: MarginRange) -> torch.Tensor:
    """How many of the valid margins lie in each of the equal parts of the range, (BINS,) int64."""
    width = (bins.high - bins.low) / BINS
    reached = [valid.sum()]
    reached += [(valid & (margin >= bins.low + number * width)).sum() for number in range(1, BINS)]
    reached.append(torch.zeros_like(reached[0]))
    return torch.stack([here - after for here, after in itertools.pairwise(reached)])
