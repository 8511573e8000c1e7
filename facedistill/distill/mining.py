"""Which triplets of a batch a student learns from, chosen on the device without a loop and without waiting for it.

A triplet is an anchor, a positive (another image of the same person) and a negative (an image of somebody else). How
many there are depends on the data, and the host would have to wait for the device to know. So there is a fixed number
of slots, of which some hold nothing: K for the positives of each of the B anchors. For one negative a pair, the
negatives of each anchor are sorted once; those that a rule admits for a positive then stand side by side, and one is
picked by its place. That takes B^2 log B steps and no relation of B x B x B.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch

Mining = Literal["semi-hard", "all-semi-hard", "hard", "all", "teacher"]

# Of the minings that take every triplet they admit, triplets looked at together; it bounds the memory.
_TOGETHER = 1 << 22


class Pairs(NamedTuple):
    """The positives of every image of a batch.

    Attributes:
        positive: (B, K) int64, rows of the batch.
        valid: (B, K) bool, whether the slot holds a positive.
    """

    positive: torch.Tensor
    valid: torch.Tensor


class Triplets(NamedTuple):
    """One negative for each pair of an anchor, which is the row, and a positive.

    Attributes:
        positive: (B, K) int64, another image of the anchor's identity.
        negative: (B, K) int64, an image of another identity.
        valid: (B, K) bool, whether the slot holds a triplet.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    valid: torch.Tensor


class Block(NamedTuple):
    """The triplets of some anchors.

    Attributes:
        anchors: R rows of the batch, one after another.
        positive: (R, K) int64.
        negative: (R, K) int64; None where each of the B images stands as a negative beside each pair.
        valid: (R, K, 1) bool, or (R, K, B) without `negative`.
    """

    anchors: slice
    positive: torch.Tensor
    negative: torch.Tensor | None
    valid: torch.Tensor

    def distances(self, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """To the positives (R, K, 1) and to the negatives (R, K, 1) or (R, 1, B), from distances (B, B)."""
        rows = distance[self.anchors]
        to_positive = rows.gather(1, self.positive)[:, :, None]
        if self.negative is None:
            return to_positive, rows[:, None, :]
        return to_positive, rows.gather(1, self.negative)[:, :, None]


def positive_pairs(labels: torch.Tensor, largest_identity: int | None = None) -> Pairs:
    """The positives of every image: those after it in the order of the labels, round the end of its identity.

    Args:
        labels: (B,) int64.
        largest_identity: how many images the identity with the most of them has, or more; K is one less. Where it is
            None, the labels are counted on the CPU, and elsewhere, where counting would mean waiting, B is taken.
    """
    ordered, order = labels.sort(stable=True)
    first = torch.searchsorted(ordered, labels)[:, None]
    count = torch.searchsorted(ordered, labels, right=True)[:, None] - first
    if largest_identity is None:
        largest_identity = int(count.max()) if labels.device.type == "cpu" else len(labels)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))[:, None]
    step = torch.arange(1, max(2, largest_identity), device=labels.device)
    return Pairs(order[first + (place - first + step) % count], step < count)


def draw_triplets(
    mining: Mining,
    distance: torch.Tensor,
    labels: torch.Tensor,
    pairs: Pairs,
    *,
    alpha: float = 0.35,
    teacher_distance: torch.Tensor | None = None,
    nearest: int = 5,
) -> Triplets:
    """One negative for every pair of an anchor a and a positive p, drawn by torch's global generator.

    "semi-hard": any of those with D(a, p) < D(a, n) < D(a, p) + alpha (FaceNet, arXiv 1503.03832, section 3.2). "hard":
    the one nearest to the anchor. "teacher": any of the few that are nearest to the anchor for the teacher, whom it
    finds easiest to confuse with it (ours). "all" and "all-semi-hard": any of all, or of the semi-hard; these minings
    go on to take every such triplet, and what is drawn is a sample of them. A pair that has no such negative is no
    triplet.

    Args:
        mining: the rule.
        distance: (B, B) the student's distances D; no gradient flows through the choice.
        labels: (B,) int64.
        pairs: of these labels.
        alpha: how far behind the positive a semi-hard negative may lie; 0.35 in squared L2 is the published value.
        teacher_distance: (B, B), for "teacher".
        nearest: how many of the teacher's nearest there are to draw from.
    """
    ranked = teacher_distance if mining == "teacher" and teacher_distance is not None else distance
    # Own images come last, and never count.
    ranked = torch.where(labels[:, None] == labels[None, :], torch.inf, ranked.detach())
    if mining == "hard":
        ordered, order = ranked.min(dim=1, keepdim=True)
    elif mining == "teacher":
        ordered, order = ranked.topk(min(nearest, len(labels)), dim=1, largest=False)
    else:
        ordered, order = ranked.sort(dim=1)
    if mining in ("semi-hard", "all-semi-hard"):
        to_positive = distance.detach().gather(1, pairs.positive)
        first = torch.searchsorted(ordered, to_positive, right=True)
        count = torch.searchsorted(ordered, to_positive + alpha) - first
    else:
        count = torch.isfinite(ordered).sum(dim=1, keepdim=True).expand_as(pairs.positive)
        first = torch.zeros_like(count)
    chance = torch.rand(pairs.positive.shape, device=distance.device)
    # The product can be rounded up to the count itself.
    step = torch.minimum((chance * count).long(), count - 1)
    negative = order.gather(1, (first + step).clamp(0, order.shape[1] - 1))
    return Triplets(pairs.positive, negative, pairs.valid & (count > 0))


def blocks_of_drawn(triplets: Triplets) -> Iterator[Block]:
    """Triplets with one negative a pair, all in one block."""
    yield Block(slice(0, len(triplets.valid)), triplets.positive, triplets.negative, triplets.valid[:, :, None])


def blocks_of_all(
    distance: torch.Tensor, labels: torch.Tensor, pairs: Pairs, *, alpha: float | None = None
) -> Iterator[Block]:
    """Every triplet of a batch, by blocks of anchors.

    Args:
        distance: (B, B) the student's distances D.
        labels: (B,) int64.
        pairs: of these labels.
        alpha: take those with D(a, p) < D(a, n) < D(a, p) + alpha alone; None for all.
    """
    size, slots = pairs.positive.shape
    step = max(1, _TOGETHER // (size * slots))
    for start in range(0, size, step):
        anchors = slice(start, min(start + step, size))
        positive = pairs.positive[anchors]
        valid = pairs.valid[anchors][:, :, None] & (labels[anchors][:, None] != labels[None, :])[:, None, :]
        block = Block(anchors, positive, None, valid)
        if alpha is not None:
            to_positive, to_negative = block.distances(distance.detach())
            semi_hard = (to_negative > to_positive) & (to_negative < to_positive + alpha)
            block = block._replace(valid=valid & semi_hard)
        yield block
