"""Evaluation-oriented distillation (Huang et al., CVPR 2022, arXiv 2206.02325): pairs pass the teacher's thresholds."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import pairwise_cosines
from facedistill.loss import Figure, LossAndFigures

# What (x - threshold) / tau is kept within, as published; beyond it the sigmoid is 0 or 1.
LARGEST_EXPONENT = 50.0


class EkdOptions(MethodOptions):
    """Which thresholds and pairs count, and how much."""

    thresholds: int = Field(
        default=6,
        ge=1,
        le=9,
        description="K, thresholds at false positive rates 0.1, 0.01 ... 10^-K; 6 is published. "
        "A batch with fewer than 10^K negative pairs has its largest one for the last ones",
    )
    tau: float = Field(default=0.01, gt=0, description="how soft a threshold is, in cosines; 0.01 is published")
    hard_negatives: int = Field(
        default=2000, ge=1, description="negative pairs that count, the most similar for the student; 2000 is published"
    )
    positive_weight: float = Field(default=0.02, ge=0, description="weight of the positive pairs; 0.02 is published")
    negative_weight: float = Field(default=0.01, ge=0, description="weight of the negative pairs; 0.01 is published")
    update_rate: float = Field(
        default=0.01, gt=0, le=1, description="share of a new batch in the running thresholds; 0.01 is published"
    )
    first_thresholds: Literal["first-batch", "zero"] = Field(
        default="first-batch",
        description="what the running thresholds start from; zero is published, and takes some hundred steps to forget",
    )


@register_method(
    "ekd",
    options=EkdOptions,
    needs=Needs(pairs=True, labels=True, several_images_per_identity=True),
    summary="pairs pass as many of the student's thresholds at low false positive rates as of the teacher's",
    source="arXiv 2206.02325",
    formula=(
        "L = positive_weight * R(P) + negative_weight * R(N)\n"
        "R(set) = mean over its pairs (i, j) of ( r(cos(s_i, s_j); theta_s) - r(cos(t_i, t_j); theta_t) )^2\n"
        "r(x; theta) = sum over k = 1..K of sigmoid((x - theta_k) / tau)\n"
        "theta_k: the cosine at place floor(n * 10^-k), counted from 0, of a network's n negative pairs of the batch\n"
        "in descending order; running: theta <- update_rate * new + (1 - update_rate) * theta\n"
        "P: pairs of one person; N: the hard_negatives pairs of different persons that are most similar for the\n"
        "student; s, t: embeddings of student and teacher.\n"
        "Ours: the first batch sets theta, which the published code starts at 0. With n < 10^k the place is 0, so\n"
        "several theta_k are the batch's largest cosine; fewer thresholds avoid that\n"
        "(512 images have 1.3e5 pairs, enough for K = 5).\n"
        "The authors: small beside a margin-softmax term, meant to be so; train with it from the start."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2, beside ArcFace (the paper): LFW 99.60, CFP-FP 94.33, CPLFW 89.35, "
        "AgeDB-30 96.48, CALFW 95.37, IJB-C 90.48 / 84.00 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class EkdDistillation(nn.Module):
    """Squared difference between how many thresholds a pair passes in either network, softly counted.

    The embeddings may differ in length. The thresholds of a batch enter the running ones before its loss, as
    published, and carry no gradient; a batch without negative pairs leaves them alone. No positive or no negative
    pairs: that term is 0. In `eval` mode the thresholds stand still.

    Attributes:
        student_thresholds: (K,) float32 buffer, cosines at falling false positive rates.
        teacher_thresholds: (K,) likewise.
        started: 0-d bool buffer, whether a batch has set them.
    """

    student_thresholds: torch.Tensor
    teacher_thresholds: torch.Tensor
    started: torch.Tensor

    def __init__(self, options: EkdOptions, setting: Setting) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("student_thresholds", torch.zeros(options.thresholds))
        self.register_buffer("teacher_thresholds", torch.zeros(options.thresholds))
        self.register_buffer("started", torch.tensor(options.first_thresholds == "zero"))

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The weighted sum of the two terms, each term, and how many pairs of one person there are."""
        with torch.autocast(batch.student.device.type, enabled=False):
            size = len(batch.labels)
            first, second = torch.triu_indices(size, size, 1, device=batch.labels.device)
            student = pairwise_cosines(batch.student)[first, second]
            teacher = pairwise_cosines(batch.teacher.detach())[first, second].to(student.dtype)
            positive = batch.labels[first] == batch.labels[second]
            negatives = (~positive).sum()
            ranking = descending(student.detach(), ~positive)
            if self.training and len(ranking):
                teacher_ranking = descending(teacher, ~positive)
                self.update(student.detach()[ranking], teacher[teacher_ranking], negatives)
            hardest = ranking[: self.options.hard_negatives]
            counted = torch.arange(len(hardest), device=ranking.device) < negatives
            positive_total, positives = self.rank_loss(student, teacher, positive)
            negative_total, hard = self.rank_loss(student[hardest], teacher[hardest], counted)
            loss = self.options.positive_weight * positive_total / positives.clamp(min=1)
            loss = loss + self.options.negative_weight * negative_total / hard.clamp(min=1)
            figures = {
                "positive_rank": Figure(positive_total.detach(), positives),
                "negative_rank": Figure(negative_total.detach(), hard),
                "positive_pairs": Figure(positives, None),
            }
            return LossAndFigures(loss, figures)

    @torch.no_grad()
    def update(self, student: torch.Tensor, teacher: torch.Tensor, negatives: torch.Tensor) -> None:
        """Take the thresholds of a batch into the running ones.

        Args:
            student: (M,) cosines, of which the first `negatives` are those of negative pairs, in descending order.
            teacher: (M,) the teacher's, likewise.
            negatives: 0-d int64; where it is 0, nothing changes. Neither where a cosine is not finite, as in a step
                that a gradient scaler throws away: NaN would never leave the running thresholds again.
        """
        # Whole numbers, since 1e5 * 0.1 in floats may fall below 1e4.
        rates = 10 ** torch.arange(1, self.options.thresholds + 1, device=negatives.device)
        share = self.options.update_rate
        sound = (negatives > 0) & torch.isfinite(student).all() & torch.isfinite(teacher).all()
        for running, cosines in ((self.student_thresholds, student), (self.teacher_thresholds, teacher)):
            found = cosines[negatives // rates].to(running.dtype)
            moved = torch.where(self.started, share * found + (1 - share) * running, found)
            running.copy_(torch.where(sound, moved, running))
        self.started.logical_or_(sound)

    def rank_loss(
        self, student: torch.Tensor, teacher: torch.Tensor, counted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum over the pairs that count of the squared difference in thresholds passed, and how many pairs count.

        Args:
            student: (M,) the student's cosines, with gradient.
            teacher: (M,) the teacher's.
            counted: (M,) bool.
        """
        passed = thresholds_passed(student, self.student_thresholds, self.options.tau)
        expected = thresholds_passed(teacher, self.teacher_thresholds, self.options.tau)
        return torch.where(counted, (passed - expected).square(), 0).sum(), counted.sum()


def descending(cosines: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """(M,) int64, the pairs that count by falling cosine, and behind them the others."""
    return torch.where(counted, cosines, -torch.inf).sort(descending=True, stable=True).indices


def thresholds_passed(cosine: torch.Tensor, thresholds: torch.Tensor, tau: float) -> torch.Tensor:
    """(M,) cosines, (K,) thresholds -> (M,) how many thresholds each passes, softly counted."""
    exponent = (cosine[:, None] - thresholds.to(cosine.dtype)) / tau
    return torch.sigmoid(exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)).sum(dim=1)
