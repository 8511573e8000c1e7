"""Semi-hard triplet mining on the device, without a loop and without waiting for the device."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Triplets(NamedTuple):
    """A fixed number of triplet slots, of which the valid ones hold triplets.

    The number of triplets depends on the data; a fixed number of slots means that the host need not ask the device
    how many there are.

    Attributes:
        anchor: (M,) int64 row of the batch.
        positive: (M,) int64, another image of the anchor's identity.
        negative: (M,) int64, an image of another identity.
        valid: (M,) bool, whether the slot holds a triplet.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    valid: torch.Tensor


def mine_semi_hard(
    distance: torch.Tensor, labels: torch.Tensor, *, alpha: float = 0.35, generator: torch.Generator | None = None
) -> Triplets:
    """For every (anchor, positive) pair, a random semi-hard negative (FaceNet, arXiv 1503.03832, section 3.2).

    A negative n is semi-hard for (a, p) where D(a, p) < D(a, n) < D(a, p) + alpha. A pair that has none is dropped.

    Args:
        distance: (B, B) the student's distances; no gradient flows through the choice.
        labels: (B,) int64.
        alpha: how far behind the positive a negative may lie; 0.35 in squared L2 is the published value.
        generator: where the choice comes from, on the distances' device; None for torch's global one.

    Returns:
        B * (B - 1) slots, one for every ordered pair of different images.
    """
    size = len(labels)
    rows = torch.arange(size, device=distance.device)
    # Column j of row i is the j-th image other than i, so that an image is never its own positive.
    others = (rows[:, None] + torch.arange(1, size, device=distance.device)[None]) % size
    distance = distance.detach()
    same = labels[:, None] == labels[None, :]
    to_positive = distance.gather(1, others)
    semi_hard = (
        (distance[:, None, :] > to_positive[:, :, None])
        & (distance[:, None, :] < to_positive[:, :, None] + alpha)
        & ~same[:, None, :]
    )
    # A random order of the negatives for each anchor; the first semi-hard one in it is taken.
    order = torch.rand(size, size, device=distance.device, generator=generator)
    priority, negative = torch.where(semi_hard, order[:, None, :], -1.0).max(dim=2)
    valid = same.gather(1, others) & (priority >= 0)
    return Triplets(rows[:, None].expand_as(others).flatten(), others.flatten(), negative.flatten(), valid.flatten())
