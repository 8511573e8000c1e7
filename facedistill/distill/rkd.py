"""Relational knowledge distillation (Park et al., CVPR 2019, arXiv 1904.05068): distances and angles in a batch."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch.autograd.function import once_differentiable
from torch.nn import functional

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import precise, unit_rows
from facedistill.loss import Figure, LossAndFigures

# Angles that are compared at once, in a handful of tensors of as many numbers: what stays in a CPU's cache, and more
# of them for CUDA, where each step costs the same up to there.
ANGLES_AT_ONCE = 1 << 20
ANGLES_AT_ONCE_CUDA = 1 << 24


class RkdOptions(MethodOptions):
    """The weights of the two terms."""

    distance_weight: float = Field(
        default=1.0, ge=0, description="weight of the distance term; 1 in the authors' command, 25 in TFace"
    )
    angle_weight: float = Field(
        default=2.0, ge=0, description="weight of the angle term, 2 in the authors' command, 50 in TFace; 0 skips it"
    )
    normalised: bool = Field(
        default=False,
        description="divide embeddings by their lengths first; the authors and TFace do not",
    )


@register_method(
    "rkd",
    options=RkdOptions,
    needs=Needs(pairs=True),
    summary="distances between images, and angles in every triangle of images, equal the teacher's",
    source="arXiv 1904.05068",
    formula=(
        "L = distance_weight * L_D + angle_weight * L_A\n"
        "L_D = mean over i, j of h( d(s_i, s_j) / m_s - d(t_i, t_j) / m_t )\n"
        "L_A = mean over i, j, k of h( cos of the angle s_i s_j s_k - cos of the angle t_i t_j t_k )\n"
        "d: Euclidean distance; m_s, m_t: the mean of the batch's distances above 0; h(x) = x^2 / 2 where |x| < 1,\n"
        "|x| - 1/2 elsewhere; s, t: embeddings of student and teacher as they are. An angle with two corners in one\n"
        "place has the cosine 0.\n"
        "The angle term grows with the cube of the batch (of all processes); angle_weight 0 skips it."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.58, CFP-FP 92.13, CPLFW 87.97, "
        "AgeDB-30 96.18, CALFW 95.25, IJB-C 89.65 / 83.21 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class RkdDistillation:
    """Smooth L1 between the relations of the two networks; the embeddings may differ in length.

    Rotation, shift and scale of either network's embeddings change nothing. Images that a network puts in one place
    are at distance 0 without a gradient; where it puts all of them there, its relations are all 0.
    """

    def __init__(self, options: RkdOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """The weighted sum of the terms, and each of them."""
        prepare = unit_rows if self.options.normalised else precise
        with torch.autocast(batch.student.device.type, enabled=False):
            student, student_gram = distances_and_gram(prepare(batch.student))
            with torch.no_grad():
                teacher, teacher_gram = distances_and_gram(prepare(batch.teacher))
            distance_loss = functional.smooth_l1_loss(relative(student), relative(teacher).to(student.dtype))
            loss = self.options.distance_weight * distance_loss
            figures = {"rkd_distance": mean_of_batches(distance_loss)}
            if self.options.angle_weight:
                angle = angle_loss(student, student_gram, teacher.to(student.dtype), teacher_gram.to(student.dtype))
                loss = loss + self.options.angle_weight * angle
                figures["rkd_angle"] = mean_of_batches(angle)
            return LossAndFigures(loss, figures)


def distances_and_gram(embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, D) -> (B, B) Euclidean distances, and (B, B) inner products of the embeddings around their mean.

    Two embeddings that are closer than the rounding of their inner products are in one place: their distance is 0,
    and has no gradient.
    """
    # Neither distances nor angles change, and the rounding of the inner products gets as small as the cloud.
    embeddings = embeddings - embeddings.mean(dim=0).detach()
    gram = embeddings @ embeddings.T
    lengths = gram.diagonal()
    both = lengths[:, None] + lengths[None, :]
    squared = both - 2 * gram
    apart = squared > 16 * torch.finfo(squared.dtype).eps * both
    apart = apart & ~torch.eye(len(gram), dtype=torch.bool, device=gram.device)
    return torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0), gram


def relative(distance: torch.Tensor) -> torch.Tensor:
    """(B, B) distances divided by the mean of those above 0; as they are where none is."""
    count = (distance > 0).sum()
    return distance / torch.where(count > 0, distance.sum() / count.clamp(min=1), 1)


def angle_loss(
    distance: torch.Tensor, gram: torch.Tensor, teacher_distance: torch.Tensor, teacher_gram: torch.Tensor
) -> torch.Tensor:
    """Mean over all triangles of the smooth L1 between the cosines of their angles.

    Args:
        distance: (B, B) the student's distances, with gradient.
        gram: (B, B) its inner products, with gradient.
        teacher_distance: (B, B) the teacher's.
        teacher_gram: likewise.
    """
    total: torch.Tensor = _AngleSum.apply(  # type: ignore[no-untyped-call]
        gram, reciprocal(distance), teacher_gram, reciprocal(teacher_distance)
    )
    return total / len(distance) ** 3


class _AngleSum(torch.autograd.Function):
    """Sum over all triangles of the smooth L1 between the student's and the teacher's cosines.

    Vertices are taken some at a time, and the gradient is found on the way: the B^3 cosines are never there at once.
    """

    @staticmethod
    def forward(
        ctx: Any, gram: torch.Tensor, inverse: torch.Tensor, teacher_gram: torch.Tensor, teacher_inverse: torch.Tensor
    ) -> torch.Tensor:
        total = gram.new_zeros(())
        gram_slope, inverse_slope = torch.zeros_like(gram), torch.zeros_like(inverse)
        step = max(1, (ANGLES_AT_ONCE_CUDA if gram.is_cuda else ANGLES_AT_ONCE) // len(gram) ** 2)
        for start in range(0, len(gram), step):
            vertices = slice(start, start + step)
            one, other = inverse[vertices][:, :, None], inverse[vertices][:, None, :]
            product = products_at(gram, vertices)
            teacher_cosine = products_at(teacher_gram, vertices)
            teacher_cosine *= teacher_inverse[vertices][:, :, None]
            teacher_cosine *= teacher_inverse[vertices][:, None, :]
            difference = (product * one).mul_(other).sub_(teacher_cosine)
            # The slope of the smooth L1 at x is clamp(x), and its value clamp(x) * (x - clamp(x) / 2).
            slope = difference.clamp(-1, 1)
            total += difference.sub_(slope, alpha=0.5).mul_(slope).sum()
            # A cosine is product * one * other, and the same for (i, k) as for (k, i).
            inverse_slope[vertices] = 2 * (product.mul_(slope) @ one).squeeze(2)
            slope.mul_(one).mul_(other)
            by_image = slope.sum(dim=2)
            gram_slope += slope.sum(dim=0)
            gram_slope[vertices] -= 2 * by_image
            gram_slope.diagonal()[vertices] += by_image.sum(dim=1)
        ctx.save_for_backward(gram_slope, inverse_slope)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gram_slope, inverse_slope = ctx.saved_tensors
        return gradient * gram_slope, gradient * inverse_slope, None, None


def products_at(gram: torch.Tensor, vertices: slice) -> torch.Tensor:
    """<x_i - x_j, x_k - x_j> for some vertices j and all images i and k, from inner products: (J, B, B), a new tensor.

    Args:
        gram: (B, B) <x_i, x_k>.
        vertices: which j.
    """
    to_vertex = gram[vertices]
    # Half of <x_j, x_j> to either side, so that one subtraction each is left.
    to_vertex = to_vertex - gram.diagonal()[vertices][:, None] / 2
    return (gram[None] - to_vertex[:, :, None]).sub_(to_vertex[:, None, :])


def reciprocal(distance: torch.Tensor) -> torch.Tensor:
    """1 / distance, 0 where the distance is 0."""
    apart = distance > 0
    return torch.where(apart, 1 / torch.where(apart, distance, 1), 0)


def mean_of_batches(value: torch.Tensor) -> Figure:
    """A 0-d loss term as a figure: its mean over the batches."""
    return Figure(value.detach(), torch.ones_like(value.detach()))
