"""The student's own classifier as a term beside others: a margin head over the training identities."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.heads import make_head
from facedistill.loss import LossAndFigures


class MarginSoftmaxOptions(MethodOptions):
    """Which head."""

    head: str = Field(
        default="arcface", description="the margin head, as facedistill heads lists them (the default is ours)"
    )
    scale: float | None = Field(
        default=None, gt=0, description="s, what cosines are multiplied by; as published if left out"
    )
    margin: float | None = Field(default=None, ge=0, description="the head's margin; as published if left out")


@register_method(
    "margin-softmax",
    options=MarginSoftmaxOptions,
    needs=Needs(teacher=False, labels=True),
    summary="cross-entropy through a margin head of the student's own, no teacher",
    source="arXiv 1801.07698",
    formula=(
        "L = mean over images i of -log softmax(z_i)[y_i]\n"
        "z_ij = s * cos(s_i, w_j) for the classes j other than y_i; for y_i the head's margin makes it smaller:\n"
        "s * cos(theta + m) with ArcFace, s * (cos(theta) - m) with CosFace\n"
        "s_i: the student's embedding; w_j: centre of class j, trained along with the student; y_i: who it is"
    ),
    published=(
        "Undistilled MobileFaceNet 512-d on MS1MV2, the row of the AdaDistill poster: LFW 99.52, AgeDB 95.82,\n"
        "CPLFW 87.93, IJB-C 89.13 at FAR 1e-4"
    ),
)
class MarginSoftmax(nn.Module):
    """A `MarginHead` as a distillation term, to be added to others or to be the baseline that they are measured by.

    The default head is ArcFace, with which the students that the methods here start from were trained in their papers.
    A head that keeps statistics (AdaFace, CurricularFace) lets the processes of a run tell each other its batches
    itself. In float32 whatever comes in, as everywhere with heads.

    Args:
        options: the head, by name; an unknown one, or a margin for a head that has not exactly one, is a UsageError.
        setting: sizes D and C.
    """

    def __init__(self, options: MarginSoftmaxOptions, setting: Setting) -> None:
        super().__init__()
        self.head = make_head(
            options.head, setting.student_size, setting.identities, scale=options.scale, margin=options.margin
        )

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean cross-entropy, `train_accuracy` and the head's own figures.

        With one identity the loss is 0. A student embedding of zeros has all cosines 0 and a finite gradient.
        """
        with torch.autocast(batch.student.device.type, enabled=False):
            output: LossAndFigures = self.head(batch.student, batch.labels)
        return output
