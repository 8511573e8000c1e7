"""Triplet Distillation (Feng et al., arXiv 1905.04457), and the fixed-margin triplet loss it is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import nn

from facedistill.distill.distance import DistanceKind, pairwise_distance
from facedistill.distill.hinge import MarginRange, hinge_loss, largest_gap
from facedistill.distill.margins import GapScale, LargestGap, MarginMap, RunningRange, margin_of, sort_gaps
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.mining import (
    Block,
    Mining,
    Triplets,
    blocks_of_all,
    blocks_of_drawn,
    draw_triplets,
    positive_pairs,
)
from facedistill.loss import LossAndFigures


class MiningOptions(MethodOptions):
    """Which triplets, and how they are averaged; alike for the fixed and for the teacher's margin."""

    mining: Mining = Field(
        default="semi-hard",
        description="which negatives a pair of anchor and positive gets: 'semi-hard' a random one within alpha behind "
        "the positive (published); 'hard' the nearest; 'all-semi-hard' and 'all' every one of them; 'teacher' a random "
        "one of those nearest to the anchor for the teacher (ours)",
    )
    alpha: float = Field(
        default=0.35, gt=0, description="how far behind the positive a semi-hard negative may lie; 0.35 is published"
    )
    nearest: int = Field(
        default=5, ge=1, description="how many of the teacher's nearest negatives mining 'teacher' draws from (ours)"
    )
    distance: DistanceKind = Field(
        default="squared-l2", description="of student and teacher: 'squared-l2' of unit vectors, or 'angle' in radians"
    )
    hinge: Literal["linear", "squared"] = Field(
        default="linear",
        description="how what a triplet falls short of its margin counts: as it is (published), where the margin only "
        "decides whether the triplet counts, or by its square (ours), where its size does",
    )
    mean: Literal["triplets", "active"] = Field(
        default="triplets",
        description="whether the loss is the mean over all triplets (published), or over those above 0, which keeps "
        "its gradient from fading where most are not (ours)",
    )


class TripletOptions(MiningOptions):
    """Of the baseline."""

    margin: float = Field(
        default=0.35, ge=0, description="the margin of every triplet; 0.35 is the middle of the adaptive ones (ours)"
    )


class TripletDistillationOptions(MiningOptions):
    """Of the paper's method; its authors' values are not known, those of its public re-implementation stand here."""

    margin_min: float = Field(default=0.2, ge=0, description="the lowest margin; 0.2 in the re-implementation")
    margin_max: float = Field(default=0.5, ge=0, description="the highest margin; 0.5 in the re-implementation")
    margin_map: MarginMap = Field(
        default="linear",
        description="from the teacher's gap d to the margin: 'linear' in d / d_max (published); ours are 'power' of "
        "that, 'spread' between two running percentiles of d, 'rank' of d in the batch, and 'gap', d itself",
    )
    exponent: float = Field(default=2.0, gt=0, description="of the map 'power'; 1 is 'linear' (ours)")
    d_max: LargestGap = Field(
        default="batch",
        description="of the maps 'linear' and 'power': the largest gap among the batch's triplets, those of all "
        "processes (as published), or a running percentile, which no single triplet can set (ours)",
    )
    low_percent: float = Field(default=5.0, ge=0, le=100, description="percentile at the low end of 'spread' (ours)")
    high_percent: float = Field(
        default=95.0, ge=0, le=100, description="percentile at the high end of 'spread', and of d_max (ours)"
    )
    momentum: float = Field(
        default=0.99, ge=0, lt=1, description="what the running percentiles keep of their old value a batch (ours)"
    )

    @model_validator(mode="after")
    def _in_order(self) -> TripletDistillationOptions:
        if self.margin_min > self.margin_max:
            raise ValueError(
                f"margin_min is {self.margin_min:g} and margin_max {self.margin_max:g}, the lowest above the highest"
            )
        if self.low_percent >= self.high_percent:
            raise ValueError(
                f"low_percent is {self.low_percent:g} and high_percent {self.high_percent:g}, it has to be the lower"
            )
        return self


def needs_of(options: MiningOptions) -> Needs:
    """A teacher for its margins, or for its mining."""
    teacher = isinstance(options, TripletDistillationOptions) or options.mining == "teacher"
    return Needs(teacher=teacher, several_images_per_identity=True, pairs=True, labels=True)


class Mined(NamedTuple):
    """The triplets of a batch, and the distances that they were found by.

    Attributes:
        distance: (B, B) the student's, with gradient.
        teacher_distance: (B, B) the teacher's, without; None where neither mining nor margins ask for a teacher.
        drawn: one triplet a pair of anchor and positive; of the minings that take more, a sample.
        blocks: gives the triplets to learn from, each time it is called.
    """

    distance: torch.Tensor
    teacher_distance: torch.Tensor | None
    drawn: Triplets
    blocks: Callable[[], Iterator[Block]]


def mine(batch: DistillationBatch, options: MiningOptions) -> Mined:
    """The triplets of a batch under these options; the same in all processes, which are given the same rows."""
    distance = pairwise_distance(batch.student, options.distance)
    teacher_distance = None
    if needs_of(options).teacher:
        teacher_distance = pairwise_distance(batch.teacher.detach(), options.distance)
    pairs = positive_pairs(batch.labels, batch.largest_identity)
    drawn = draw_triplets(
        options.mining,
        distance,
        batch.labels,
        pairs,
        alpha=options.alpha,
        teacher_distance=teacher_distance,
        nearest=options.nearest,
    )
    blocks = partial(blocks_of_drawn, drawn)
    if options.mining in ("all", "all-semi-hard"):
        alpha = None if options.mining == "all" else options.alpha
        blocks = partial(blocks_of_all, distance, batch.labels, pairs, alpha=alpha)
    return Mined(distance, teacher_distance, drawn, blocks)


@register_method(
    "triplet",
    options=TripletOptions,
    needs=needs_of,
    summary="triplets with one fixed margin, no teacher: the baseline of triplet distillation",
    source="arXiv 1503.03832",
    formula="""L = mean over triplets (a, p, n) of max( D(a,p) - D(a,n) + margin, 0 )

a, p, n: anchor, positive (the same person), negative (somebody else)
D: distance of the student between unit vectors, squared L2 or angle
mining: for each pair (a, p) one n at random with D(a,p) < D(a,n) < D(a,p) + alpha

FaceNet's margin is 0.2, and its band as wide as that; margin and alpha here are those of triplet-distillation. Ours:
the mining 'teacher', the mean over active triplets, and the squared hinge.""",
)
class TripletLoss:
    """The triplet loss with a fixed margin; where no triplet is found, it and its gradient are 0.

    Degenerate batches are those of `TripletDistillation`.

    Args:
        options: the margin and the mining.
        setting: not looked at; embeddings of any size will do.
    """

    def __init__(self, options: TripletOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """Mine triplets by the distances, then ask each for the margin; in float32 or better."""
        with torch.autocast(batch.student.device.type, enabled=False):
            mined = mine(batch, self.options)
            return hinge_loss(
                mined.blocks(),
                mined.distance,
                self.options.margin,
                teacher_distance=mined.teacher_distance,
                active_only=self.options.mean == "active",
                squared=self.options.hinge == "squared",
            )


@register_method(
    "triplet-distillation",
    options=TripletDistillationOptions,
    needs=needs_of,
    summary="triplets whose margin follows the teacher's gap, 0.2 to 0.5",
    source="arXiv 1905.04457",
    formula="""L    = mean over triplets (a, p, n) of max( D(a,p) - D(a,n) + F(d), 0 )
d    = max( T(a,n) - T(a,p), 0 )
F(d) = (m_max - m_min) d / d_max + m_min

a, p, n: anchor, positive (the same person), negative (somebody else)
D, T: distances of the student and of the teacher between unit vectors, squared L2 or angle; no gradient through F
m_min, m_max: margin_min, margin_max
d_max: the largest d among the triplets of the batch
mining: for each pair (a, p) one n at random with D(a,p) < D(a,n) < D(a,p) + alpha

Ours, with w = m_max - m_min and x = min( d / d_max, 1 ):
margin_map power: m_min + w x ^ exponent, spread: m_min + w (d - d_low) / (d_high - d_low) between running percentiles,
    rank: m_min + w (share of the batch's other triplets with a smaller d), gap: d itself; all kept in [m_min, m_max]
d_max percentile: a running percentile of d; mining teacher: n at random among the nearest to a for the teacher
mean active: over the triplets whose loss is above 0; hinge squared: of max( ... )^2""",
    published="""\
ResNet-100 -> MobileFaceNet on MS1MV2, as the authors of MarginDistillation re-implemented it (the paper's own tables
are not known to us), LFW / CFP-FP / AgeDB-30 / MegaFace rank-1: squared L2 99.56 / 93.30 / 96.23 / 89.10, angle
99.55 / 93.30 / 95.60 / 86.52, the student it began with 99.51 / 92.68 / 96.13 / 90.62""",
)
class TripletDistillation(nn.Module):
    """The triplet loss whose margin follows the gap that the teacher sees.

    Degenerate batches: where no triplet is found, as with one identity alone or with no two images of a person, the
    loss and its gradient are 0. Where all embeddings of the student are the same, nothing is semi-hard and the loss is
    0 too; the other minings give it the mean margin, and a gradient of 0 or of rounding. Where the teacher gets all
    triplets wrong, or gives every image the same embedding, d_max is 0 and each margin is m_min.

    Args:
        options: the margins and the mining.
        setting: not looked at; embeddings of any size will do, and the teacher's may have another than the student's.
    """

    def __init__(self, options: TripletDistillationOptions, setting: Setting) -> None:
        super().__init__()
        self.options = options
        self.range = RunningRange(options.low_percent, options.high_percent, options.momentum)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Mine triplets by the distances, then ask each for its margin; in float32 or better."""
        options = self.options
        with torch.autocast(batch.student.device.type, enabled=False):
            mined = mine(batch, options)
            assert mined.teacher_distance is not None  # noqa: S101
            margin = partial(
                margin_of,
                scale=self.scale_of(mined, mined.teacher_distance),
                margin_map=options.margin_map,
                margin_min=options.margin_min,
                margin_max=options.margin_max,
                exponent=options.exponent,
            )
            return hinge_loss(
                mined.blocks(),
                mined.distance,
                margin,
                teacher_distance=mined.teacher_distance,
                active_only=options.mean == "active",
                squared=options.hinge == "squared",
                bins=MarginRange(options.margin_min, options.margin_max),
            )

    def scale_of(self, mined: Mined, teacher_distance: torch.Tensor) -> GapScale:
        """What the teacher's gaps are measured by: the largest of all, or percentiles of one triplet a pair."""
        (drawn,) = blocks_of_drawn(mined.drawn)
        to_positive, to_negative = drawn.distances(teacher_distance)
        ordered, gaps = sort_gaps(to_negative - to_positive, drawn.valid)
        low, high = self.range(ordered, gaps)
        if self.options.d_max == "batch" and self.options.margin_map in ("linear", "power"):
            high = largest_gap(mined.blocks(), teacher_distance)
        return GapScale(low, high, ordered, gaps)
