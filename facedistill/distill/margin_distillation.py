"""MarginDistillation (Svitov and Alyamkin, arXiv 2003.02586): fixed teacher centres, a margin for each image."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from facedistill.distill.centres import require_teacher, teacher_centres
from facedistill.distill.margin_logits import (
    accuracy,
    own_cosine,
    replace_own,
)
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.heads.margin import away_from_one
from facedistill.loss import LossAndFigures, mean_figure
from facedistill.ranks import largest_over_ranks


class MarginDistillationOptions(MethodOptions):
    """The range of the margins, and the scale."""

    margin_min: float = Field(default=0.2, ge=0, le=1.5, description="the smallest margin, in radians")
    margin_max: float = Field(default=0.5, ge=0, le=1.5, description="the largest margin, in radians")
    scale: float = Field(default=64.0, gt=0, description="s, what cosines are multiplied by")

    @model_validator(mode="after")
    def _in_order(self) -> MarginDistillationOptions:
        if self.margin_min > self.margin_max:
            raise ValueError(f"margin_min is {self.margin_min:g}, above margin_max, which is {self.margin_max:g}")
        return self


@torch.no_grad()
def margins_by_typicality(
    similarity: torch.Tensor, largest: torch.Tensor, *, margin_min: float = 0.2, margin_max: float = 0.5
) -> torch.Tensor:
    """m_i = (m_max - m_min) / D_max * D_i + m_min: the more typical the teacher finds an image, the more it is asked.

    Ours: D_i below 0 counts as 0, where the published formula falls below m_min without a limit; where D_max is not
    above 0, which would divide by zero, every margin is m_min.

    Args:
        similarity: (B,) D_i, cosine of the teacher's embedding with its centre of the person.
        largest: 0-d, D_max, the largest D_i of the batch.
        margin_min: m_min.
        margin_max: m_max.

    Returns:
        (B,) margins in [m_min, m_max], in radians.
    """
    fraction = similarity.clamp(min=0) / torch.where(largest > 0, largest, 1)
    return margin_min + (margin_max - margin_min) * fraction


def add_angle(cosine: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """cos(theta + m), like ArcFace, with an angle of its own for each image.

    Args:
        cosine: (B,) cos(theta), with gradient.
        margin: (B,) m, in radians.
    """
    cosine = away_from_one(cosine)
    return cosine * torch.cos(margin) - torch.sqrt(1 - cosine.square()) * torch.sin(margin)


@register_method(
    "margin-distillation",
    options=MarginDistillationOptions,
    needs=Needs(equal_sizes=True, centres=True, labels=True),
    summary="ArcFace against the teacher's fixed centres, margins 0.2 to 0.5 by its confidence",
    source="arXiv 2003.02586",
    formula=(
        "L = mean over images i of -log softmax(z_i)[y_i], z_ij = s * cos(f_s, w_j), for y_i s * cos(theta + m_i)\n"
        "m_i = (m_max - m_min) / D_max * D_i + m_min, D_i = cos(f_t, w_y), D_max = the largest D_i of the batch\n"
        "f_s, f_t: embeddings of student and teacher; w_j: the teacher's centre of class j, fixed; y_i: who i is\n"
        "Ours: D_i below 0 counts as 0; all m_i are m_min where D_max <= 0; D_max is that of all processes;\n"
        "w_j is the mean of the teacher's normalised embeddings of person j where it has no classifier for them"
    ),
    published=(
        "MobileFaceNet, MS1MV2, ResNet-100 teacher (authors' repository): LFW 99.61, CFP-FP 92.01, AgeDB 96.55,\n"
        "MegaFace 91.70, undistilled 99.51, 92.68, 96.13, 90.62; IJB-C 85.71 / 75.00 (EKD paper, table 3)"
    ),
)
class MarginDistillation(nn.Module):
    """ArcFace against fixed centres with a margin for each image; nothing to train, and no state.

    Args:
        options: see there.
        setting: equal sizes and the teacher's centres; a UsageError without them.
    """

    centres: torch.Tensor

    def __init__(self, options: MarginDistillationOptions, setting: Setting) -> None:
        super().__init__()
        require_teacher(setting, "margin-distillation", equal_sizes=True)
        self.options = options
        # A run that goes on is given the centres again, so that they need not be in each of its checkpoints.
        self.register_buffer("centres", teacher_centres(setting, "margin-distillation"), persistent=False)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The mean cross-entropy; figures `margin`, `teacher_cosine` and `centre_accuracy`.

        With one identity the loss is 0. A teacher that is wrong everywhere (D_max <= 0) gives the loss with the fixed
        margin m_min. A student embedding of zeros has all cosines 0 and a finite gradient.
        """
        with torch.autocast(batch.student.device.type, enabled=False):
            student = unit_rows(batch.student)
            similarity = self.typicality(batch.teacher.to(student.dtype), batch.labels)
            margin = margins_by_typicality(
                similarity,
                largest_over_ranks(similarity.amax()),
                margin_min=self.options.margin_min,
                margin_max=self.options.margin_max,
            )
            cosine = functional.linear(student, self.centres.to(student.dtype))
            target = add_angle(own_cosine(cosine, batch.labels), margin)
            logits = replace_own(cosine, batch.labels, target, self.options.scale)
            loss = functional.cross_entropy(logits, batch.labels)
        figures = {
            "margin": mean_figure(margin),
            "teacher_cosine": mean_figure(similarity),
            "centre_accuracy": accuracy(cosine, batch.labels),
        }
        return LossAndFigures(loss, figures)

    @torch.no_grad()
    def typicality(self, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, T) by the teacher and labels (B,) -> D_i (B,)."""
        return (unit_rows(teacher) * self.centres[labels].to(teacher.dtype)).sum(dim=1)
