"""AdaDistill's fixed-centre variant (AMLDistill): margin softmax against the teacher's class centres, which stay."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from facedistill.distill.adadistill import MARGINS
from facedistill.distill.centres import require_teacher, teacher_centres
from facedistill.distill.margin_logits import (
    MarginForm,
    accuracy,
    margin_logits,
    margin_rule,
)
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.loss import LossAndFigures


class FixedCentreOptions(MethodOptions):
    """The margin softmax against the centres."""

    head: MarginForm = Field(default="arcface", description="form of the margin: arcface or cosface")
    margin: float | None = Field(
        default=None, ge=0, le=1.5, description="m; 0.45 for arcface and 0.35 for cosface if left out"
    )
    scale: float = Field(default=64.0, gt=0, description="s, what cosines are multiplied by")


@register_method(
    "adadistill-fixed",
    options=FixedCentreOptions,
    needs=Needs(equal_sizes=True, centres=True, labels=True),
    summary="margin softmax against the teacher's class centres, which stay (ArcDistill)",
    source="arXiv 2407.01332",
    formula=(
        "L = mean over images i of -log softmax(z_i)[y_i], z_ij = s * cos(f_s, w_j), for y_i s * cos(theta + m)\n"
        "f_s: the student's embedding; w_j: the teacher's centre of class j, fixed; y_i: who image i is\n"
        "Ours: w_j is the mean of the teacher's normalised embeddings of person j where it has no classifier for\n"
        "these people, such as an ONNX file or a cache; the paper has the classifier that it was trained with"
    ),
    published=(
        "MobileFaceNet 1.2 M, MS1MV2, IResNet-50 teacher, ArcDistill (poster): LFW 99.63, AgeDB 96.82, CPLFW 89.20,\n"
        "IJB-C 91.70 / 84.57 at FAR 1e-4 / 1e-5"
    ),
)
class FixedCentres(nn.Module):
    """The student's margin softmax against fixed centres; nothing to train, and no state.

    Args:
        options: see there.
        setting: equal sizes and the teacher's centres; a UsageError without them.
    """

    centres: torch.Tensor

    def __init__(self, options: FixedCentreOptions, setting: Setting) -> None:
        super().__init__()
        require_teacher(setting, "adadistill-fixed", equal_sizes=True)
        self.rule = margin_rule(
            options.head, options.scale, MARGINS[options.head] if options.margin is None else options.margin
        )
        # A run that goes on is given the centres again, so that they need not be in each of its checkpoints.
        self.register_buffer("centres", teacher_centres(setting, "adadistill-fixed"), persistent=False)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The mean cross-entropy, and `centre_accuracy`; the teacher's embeddings of this batch are not looked at.

        With one identity the loss is 0. A student embedding of zeros has all cosines 0 and a finite gradient.
        """
        with torch.autocast(batch.student.device.type, enabled=False):
            student = unit_rows(batch.student)
            cosine = functional.linear(student, self.centres.to(student.dtype))
            loss = functional.cross_entropy(margin_logits(cosine, batch.labels, self.rule), batch.labels)
        return LossAndFigures(loss, {"centre_accuracy": accuracy(cosine, batch.labels)})
