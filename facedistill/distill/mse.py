"""Squared difference between the embeddings of student and teacher (the hint of FitNets, on the embedding)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from facedistill.distill.cosine import cosine_with_teacher
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import precise, unit_rows
from facedistill.loss import LossAndFigures, mean_figure

Reduction = Literal["images", "half-images", "elements"]


class MseOptions(MethodOptions):
    """What is compared, and how the squares are added up."""

    normalised: bool = Field(
        default=True,
        description="compare unit vectors; false compares the raw embeddings, whose lengths then have to agree too",
    )
    reduction: Reduction = Field(
        default="images",
        description="images: sum over a vector, mean over images; half-images: half of that; "
        "elements: mean over all numbers, which weakens as embeddings get longer",
    )


@register_method(
    "mse",
    options=MseOptions,
    needs=Needs(equal_sizes=True),
    summary="squared difference between student and teacher embeddings (FitNet, hint)",
    source="arXiv 1412.6550",
    formula=(
        "L = mean over images i of |s_i - t_i|^2\n"
        "s_i, t_i: embeddings of the student and of the teacher, divided by their lengths where normalised is true;\n"
        "|.|^2 is then 2 - 2 cos(s_i, t_i)\n"
        "reduction half-images halves it, elements divides it by the length D of the embeddings.\n"
        "Recipes: VarGFaceNet mse:7; GKD's code reduction half-images; PocketNet mse:100 with reduction elements;\n"
        "FitNet in TFace normalised false and reduction elements. All add a margin-softmax term.\n"
        "Normalised by default is ours: users report that the raw difference hardly moves."
    ),
    published=(
        "FitNet, IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.47, CFP-FP 91.30, "
        "CPLFW 88.30, AgeDB-30 96.18, CALFW 95.12, IJB-C 87.76 / 73.71 at FAR 1e-4 / 1e-5\n"
        "margin-softmax and the normalised difference (AdaDistill's ablation): 99.57, 93.77, 89.01, 96.97, 95.70, "
        "91.29 / 79.79\nthe same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class MseDistillation:
    """|student - teacher|^2, averaged over the batch.

    A normalised embedding of length 0 stays 0, at a squared distance of 1 from the teacher's.
    """

    def __init__(self, options: MseOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """The squared difference, reduced as the options say."""
        with torch.autocast(batch.student.device.type, enabled=False):
            prepare = unit_rows if self.options.normalised else precise
            square = (prepare(batch.student) - prepare(batch.teacher.detach())).square()
            if self.options.reduction == "elements":
                loss = square.mean()
            else:
                loss = square.sum(dim=1).mean() / (2 if self.options.reduction == "half-images" else 1)
        figures = {"cosine": mean_figure(cosine_with_teacher(batch).detach())}
        return LossAndFigures(loss, figures)
