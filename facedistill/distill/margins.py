"""The margin that a student is asked for, from the gap that the teacher sees: maps by name, and their running range."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn

MarginMap = Literal["linear", "power", "spread", "rank", "gap"]
LargestGap = Literal["batch", "percentile"]


class GapScale(NamedTuple):
    """What the gaps of a batch are measured by.

    Attributes:
        low: 0-d, the gap that "spread" gives the lowest margin.
        high: 0-d, the gap that "linear", "power" and "spread" give the highest margin.
        ordered: (M,) the batch's gaps in ascending order, for "rank"; slots without a triplet are infinite.
        gaps: 0-d int64, how many of them are gaps.
    """

    low: torch.Tensor
    high: torch.Tensor
    ordered: torch.Tensor
    gaps: torch.Tensor


@torch.no_grad()
def margin_of(
    gap: torch.Tensor,
    scale: GapScale,
    *,
    margin_map: MarginMap = "linear",
    margin_min: float = 0.2,
    margin_max: float = 0.5,
    exponent: float = 1.0,
) -> torch.Tensor:
    """The margin of each triplet, in [m_min, m_max] and never falling as the gap grows.

    The wider the gap the teacher sees between the negative and the positive, the more the student is asked for; a
    triplet that the teacher itself gets wrong has d = max(gap, 0) = 0. With the width w = m_max - m_min:

        linear  m_min + w min(d / d_max, 1), as published; m_min for all where d_max is 0
        power   m_min + w min(d / d_max, 1) ^ exponent
        spread  m_min + w (d - d_low) / (d_max - d_low), within the range; m_min where d_low = d_max
        rank    m_min + w (share of the batch's other triplets with a smaller d)
        gap     d itself, within the range: the student is asked for the teacher's own gap

    All but the first are ours.

    Args:
        gap: (...) T(a, n) - T(a, p), the teacher's distances.
        scale: what gaps are measured by.
        margin_map: the map's name.
        margin_min: m_min; 0.2 is the public re-implementation's value, the paper's is not known.
        margin_max: m_max; 0.5 likewise.
        exponent: of "power".

    Returns:
        (...) margins, without gradient.
    """
    gap = gap.clamp(min=0)
    if margin_map == "gap":
        return gap.clamp(margin_min, margin_max)
    if margin_map == "rank":
        below = torch.searchsorted(scale.ordered, gap.contiguous())
        fraction = below.to(gap.dtype) / (scale.gaps - 1).clamp(min=1)
    elif margin_map == "spread":
        fraction = _divide(gap - scale.low, scale.high - scale.low)
    else:
        fraction = _divide(gap, scale.high)
    fraction = fraction.clamp(0, 1)
    if margin_map == "power":
        fraction = fraction**exponent
    return margin_min + (margin_max - margin_min) * fraction


def _divide(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """0 where the whole is not above 0."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1), 0)


def sort_gaps(gap: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """max(gap, 0) of the valid slots in ascending order (M,), infinite where slots are left; and how many are valid."""
    ordered = torch.where(valid, gap.detach().clamp(min=0), torch.inf).flatten().sort().values
    return ordered, valid.sum()


def percentile(ordered: torch.Tensor, count: torch.Tensor, percent: float) -> torch.Tensor:
    """The percentile (0-d) of the first `count` of ascending numbers (M,), between neighbours by line; 0 of none."""
    place = (count - 1).clamp(min=0).to(ordered.dtype) * (percent / 100)
    lower = place.long()
    upper = torch.minimum(lower + 1, (count - 1).clamp(min=0))
    below, above = ordered.gather(0, torch.stack([lower, upper]))
    return torch.where(count > 0, below + (above - below) * (place - lower), 0)


class RunningRange(nn.Module):
    """Percentiles of the teacher's gaps, as a moving average over batches, so that one outlier sets no scale (ours).

    The first batch that has triplets sets the range, later ones move it; a batch without any leaves it. Not moved in
    evaluation mode.

    Args:
        low_percent: the percentile at the low end, in 0..100.
        high_percent: that at the high end.
        momentum: how much of the old value is kept in a batch.

    Attributes:
        low: 0-d float32.
        high: 0-d float32.
        known: 0-d bool, whether there was a batch with triplets.
    """

    low: torch.Tensor
    high: torch.Tensor
    known: torch.Tensor

    def __init__(self, low_percent: float, high_percent: float, momentum: float) -> None:
        super().__init__()
        self.percents = (low_percent, high_percent)
        self.momentum = momentum
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def forward(self, ordered: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in the gaps of a batch (M,), ascending, of which `count` are some; the low and the high end after it."""
        if self.training:
            for end, percent in zip((self.low, self.high), self.percents, strict=True):
                now = percentile(ordered, count, percent).to(end.dtype)
                moved = torch.where(self.known, self.momentum * end + (1 - self.momentum) * now, now)
                end.copy_(torch.where(count > 0, moved, end))
            self.known.logical_or_(count > 0)
        return self.low.clone(), self.high.clone()
