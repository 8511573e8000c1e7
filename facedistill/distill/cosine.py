"""Cosine distillation: turn each student embedding towards the teacher's embedding of the same crop."""

from __future__ import annotations

import torch

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.loss import LossAndFigures, mean_figure


class CosineOptions(MethodOptions):
    """It has none."""


@register_method(
    "cosine",
    options=CosineOptions,
    needs=Needs(equal_sizes=True),
    summary="1 - cos between student and teacher embeddings",
    source="arXiv 2003.02586 (its comparison)",
    formula="L = mean over images i of 1 - cos(s_i, t_i)\ns_i, t_i: embeddings of the student and of the teacher",
    published=(
        "IResNet-100 -> MobileFaceNet (512-d), MS1MV2, beside ArcFace: LFW 99.55, CFP-FP 91.90, AgeDB-30 96.01, "
        "MegaFace rank-1 90.73\nthe same student without a teacher: 99.51, 92.68, 96.13, 90.62\n"
        "(MarginDistillation's repository)"
    ),
)
class CosineDistillation:
    """1 - cos(student, teacher), averaged over the batch; half the squared distance between the unit vectors.

    Both sides are normalised first: the lengths of the teacher's embeddings say how sharp a crop is, not who it is.
    An embedding of length 0 counts as orthogonal to every other.
    """

    def __init__(self, options: CosineOptions, setting: Setting) -> None:
        pass

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean of 1 - cos over the batch."""
        cosine = cosine_with_teacher(batch)
        return LossAndFigures(1 - cosine.mean(), {"cosine": mean_figure(cosine)})


def cosine_with_teacher(batch: DistillationBatch) -> torch.Tensor:
    """(B,) cosine between the two embeddings of each image, in float32 or better, with gradient to the student."""
    with torch.autocast(batch.student.device.type, enabled=False):
        return (unit_rows(batch.student) * unit_rows(batch.teacher.detach())).sum(dim=1)
