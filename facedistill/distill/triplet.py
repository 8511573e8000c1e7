"""Triplet Distillation (Feng et al., arXiv 1905.04457), and the fixed-margin triplet loss it is measured against."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from facedistill.distill.distance import DistanceKind, pairwise_distance
from facedistill.distill.method import METHODS, DistillationBatch, MethodOptions, Needs
from facedistill.distill.mining import Triplets, mine_semi_hard
from facedistill.errors import UsageError
from facedistill.loss import Figure, LossAndFigures


def adaptive_margins(
    teacher_gap: torch.Tensor, valid: torch.Tensor, *, margin_min: float = 0.2, margin_max: float = 0.5
) -> torch.Tensor:
    """The margin of each triplet: F(d) = (m_max - m_min) / d_max * d + m_min, with d = max(gap, 0).

    The wider the gap the teacher sees between the negative and the positive, the more the student is asked for; a
    triplet that the teacher itself gets wrong is asked for m_min. d_max is the largest d among the batch's valid
    triplets (the paper does not say over what it is taken; its public re-implementation takes the batch). Where no
    triplet has a gap, d_max is 0 and every margin is m_min.

    Args:
        teacher_gap: (M,) T(a, n) - T(a, p), the teacher's distances.
        valid: (M,) bool, which slots hold a triplet.
        margin_min: m_min; 0.2 is the re-implementation's value, the paper's is not known.
        margin_max: m_max; 0.5 likewise.

    Returns:
        (M,) margins in [m_min, m_max], without gradient.
    """
    gap = torch.where(valid, teacher_gap.detach().clamp(min=0), 0)
    largest = gap.amax() if gap.numel() else gap.new_ones(())
    fraction = gap / torch.where(largest > 0, largest, torch.ones_like(largest))
    return margin_min + (margin_max - margin_min) * fraction


def triplet_loss(student_gap: torch.Tensor, margin: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean over the valid triplets of max(margin - gap, 0); 0 with a gradient of 0 where there is none.

    Args:
        student_gap: (M,) D(a, n) - D(a, p), the student's distances, with gradient.
        margin: (M,) margins.
        valid: (M,) bool.
    """
    violation = torch.where(valid, (margin - student_gap).clamp(min=0), 0)
    return violation.sum() / valid.sum().clamp(min=1)


class TripletLoss(nn.Module):
    """A triplet loss on semi-hard triplets whose margin is fixed, or follows the teacher's gap.

    Args:
        margins: (lowest, highest) margin.
        adaptive: let the margin follow the teacher's gap; otherwise it is the lowest one, and no teacher is needed.
        alpha: width of the semi-hard band.
        distance: "squared-l2" or "angle", for student and teacher alike.

    Raises:
        UsageError: margins or alpha out of range, or an unknown distance.
    """

    def __init__(
        self,
        margins: tuple[float, float],
        *,
        adaptive: bool = True,
        alpha: float = 0.35,
        distance: str = "squared-l2",
    ) -> None:
        super().__init__()
        if distance not in ("squared-l2", "angle"):
            raise UsageError(f"the distance is '{distance}'", next_step="Use squared-l2 or angle")
        if not 0 <= margins[0] <= margins[1]:
            raise UsageError(
                f"the margins are {margins[0]:g} and {margins[1]:g}", next_step="It has to be 0 <= lowest <= highest"
            )
        if not alpha > 0:
            raise UsageError(f"alpha is {alpha:g}, it must be above 0")
        self.margins = margins
        self.alpha = alpha
        self.distance = cast(DistanceKind, distance)
        self.adaptive = adaptive
        self.needs = Needs(teacher=self.adaptive, several_images_per_identity=True, pairs=True)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Mine triplets by the student's distances, then ask each for its margin."""
        distance = pairwise_distance(batch.student, self.distance)
        triplets = mine_semi_hard(distance, batch.labels, alpha=self.alpha)
        to_positive = distance[triplets.anchor, triplets.positive]
        to_negative = distance[triplets.anchor, triplets.negative]
        student_gap = to_negative - to_positive
        count = triplets.valid.sum()
        figures = {}
        if self.adaptive:
            teacher_gap = self.teacher_gap(batch.teacher, triplets)
            margin = adaptive_margins(
                teacher_gap, triplets.valid, margin_min=self.margins[0], margin_max=self.margins[1]
            )
            figures["teacher_gap"] = masked_sum(teacher_gap, triplets.valid)
        else:
            margin = torch.full_like(student_gap, self.margins[0])
        figures |= {
            "triplets": Figure(count, None),
            "active": masked_sum((margin > student_gap).float(), triplets.valid),
            "margin": masked_sum(margin, triplets.valid),
            "positive_distance": masked_sum(to_positive, triplets.valid),
            "negative_distance": masked_sum(to_negative, triplets.valid),
        }
        return LossAndFigures(triplet_loss(student_gap, margin, triplets.valid), figures)

    @torch.no_grad()
    def teacher_gap(self, teacher: torch.Tensor, triplets: Triplets) -> torch.Tensor:
        """(M,) T(a, n) - T(a, p) from the teacher's embeddings (B, T)."""
        distance = pairwise_distance(teacher, self.distance)
        return distance[triplets.anchor, triplets.negative] - distance[triplets.anchor, triplets.positive]


def masked_sum(values: torch.Tensor, valid: torch.Tensor) -> Figure:
    """The mean over valid slots as a `Figure`, without gradient."""
    return Figure(torch.where(valid, values.detach(), 0).sum(), valid.sum())


@METHODS.register(
    "triplet-distillation",
    summary="triplets whose margin follows the teacher's gap, 0.2 to 0.5",
    source="arXiv 1905.04457",
)
def triplet_distillation(options: MethodOptions) -> TripletLoss:
    """The paper's method."""
    return TripletLoss((options.margin_min, options.margin_max), alpha=options.alpha, distance=options.distance)


@METHODS.register("triplet", summary="the same triplets with one fixed margin, no teacher", source="arXiv 1503.03832")
def triplet(options: MethodOptions) -> TripletLoss:
    """The baseline that the paper is measured against."""
    margins = (options.margin, options.margin)
    return TripletLoss(margins, adaptive=False, alpha=options.alpha, distance=options.distance)
