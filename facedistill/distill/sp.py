"""Similarity-preserving distillation (Tung and Mori, ICCV 2019, arXiv 1907.09682), on embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import cosine_gap, pairwise_cosines, precise, unit_rows
from facedistill.loss import LossAndFigures


class SpOptions(MethodOptions):
    """What is normalised before the similarities are compared."""

    normalised: Literal["embeddings", "rows"] = Field(
        default="embeddings",
        description="embeddings: G holds cosines, as TFace does for faces; "
        "rows: G holds inner products, each row divided by its length, as the paper does on feature maps",
    )


@register_method(
    "sp",
    options=SpOptions,
    needs=Needs(pairs=True),
    summary="the cosines between all images of a batch equal the teacher's (similarity-preserving)",
    source="arXiv 1907.09682",
    formula=(
        "L = |G_s - G_t|_F^2 / B^2\n"
        "G_s, G_t: (B, B) Gram matrices of the student's and the teacher's embeddings, which are divided by their\n"
        "lengths first (TFace); with normalised rows, the rows of G are divided by theirs instead (the paper).\n"
        "B: images of the batch. Command lines of public code weigh it with 3000 on feature maps."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.53, CFP-FP 92.33, CPLFW 88.45, "
        "AgeDB-30 96.17, CALFW 95.07, IJB-C 88.43 / 78.13 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class SpDistillation:
    """Mean squared difference between two Gram matrices; the embeddings may differ in length.

    0 where the student's cosines are the teacher's, whatever the rotation between them.
    """

    def __init__(self, options: SpOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """|G_s - G_t|_F^2 / B^2 and how far the cosines lie apart."""
        with torch.autocast(batch.student.device.type, enabled=False):
            cosines, teacher_cosines = pairwise_cosines(batch.student), pairwise_cosines(batch.teacher.detach())
            if self.options.normalised == "embeddings":
                difference = cosines - teacher_cosines
            else:
                difference = unit_gram_rows(batch.student) - unit_gram_rows(batch.teacher.detach())
            return LossAndFigures(difference.square().mean(), {"cosine_gap": cosine_gap(cosines, teacher_cosines)})


def unit_gram_rows(embeddings: torch.Tensor) -> torch.Tensor:
    """(B, D) -> (B, B), the Gram matrix of the embeddings as they are, each row divided by its length."""
    embeddings = precise(embeddings)
    return unit_rows(embeddings @ embeddings.T)
