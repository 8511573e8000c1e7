"""Correlation congruence (Peng et al., ICCV 2019, arXiv 1904.01802): a Gaussian kernel between images is preserved."""

from __future__ import annotations

import math

import torch
from pydantic import Field

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import cosine_gap, pairwise_cosines
from facedistill.loss import LossAndFigures


class CckdOptions(MethodOptions):
    """The kernel."""

    gamma: float = Field(default=0.4, gt=0, description="g, how fast the kernel falls with the distance; 0.4 in TFace")
    order: int = Field(default=2, ge=1, le=20, description="P, the highest power of the Taylor expansion; 2 in TFace")


@register_method(
    "cckd",
    options=CckdOptions,
    needs=Needs(pairs=True),
    summary="a Gaussian kernel between all images of a batch equals the teacher's (correlation congruence)",
    source="arXiv 1904.01802",
    formula=(
        "L = 1/B^2 sum over images i, j of (K(cos(s_i, s_j)) - K(cos(t_i, t_j)))^2\n"
        "K(c) = exp(-2g) sum over p = 0..P of (2g)^p / p! * c^p, the expansion of exp(-g |a - b|^2) between unit\n"
        "vectors a and b with cosine c\n"
        "s_i, t_i: embeddings of the student and of the teacher; B: images of the batch; g 0.4 and P 2 as in TFace.\n"
        "With P = 1 it is sp times a constant."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.47, CFP-FP 91.90, CPLFW 88.48, "
        "AgeDB-30 95.83, CALFW 95.22, IJB-C 87.99 / 78.75 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class CckdDistillation:
    """Mean squared difference between two kernel matrices; the embeddings may differ in length.

    0 where the student's cosines are the teacher's, whatever the rotation between them.
    """

    def __init__(self, options: CckdOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean squared difference of the kernels and how far the cosines lie apart."""
        with torch.autocast(batch.student.device.type, enabled=False):
            cosines, teacher_cosines = pairwise_cosines(batch.student), pairwise_cosines(batch.teacher.detach())
            gamma, order = self.options.gamma, self.options.order
            difference = expanded_kernel(cosines, gamma, order) - expanded_kernel(teacher_cosines, gamma, order)
            return LossAndFigures(difference.square().mean(), {"cosine_gap": cosine_gap(cosines, teacher_cosines)})


def expanded_kernel(cosine: torch.Tensor, gamma: float, order: int) -> torch.Tensor:
    """exp(-gamma |a - b|^2) = exp(-2 gamma) exp(2 gamma cos) between unit vectors, expanded up to cos^order.

    Args:
        cosine: of any shape.
        gamma: how fast the kernel falls.
        order: the highest power of the cosine.
    """
    kernel = torch.zeros_like(cosine)
    # Horner's rule, from the highest power down, so that no power is kept for the backward pass twice.
    for power in range(order, -1, -1):
        kernel = kernel * cosine + math.exp(-2 * gamma) * (2 * gamma) ** power / math.factorial(power)
    return kernel
