"""Knowledge distillation by softened logits (Hinton et al., arXiv 1503.02531), on the logits of margin heads."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from facedistill.distill.centres import teacher_centres
from facedistill.distill.margin_logits import (
    MarginForm,
    accuracy,
    margin_logits,
    margin_rule,
)
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.heads import MarginHead
from facedistill.loss import Figure, LossAndFigures

# The margins of TFace-like training: ArcFace's own, and what GKD's repository runs KD with.
MARGINS = {"arcface": 0.5, "cosface": 0.4}


class HintonOptions(MethodOptions):
    """Temperature, the two parts' weights, and the margin of both networks' logits."""

    temperature: float = Field(default=4.0, gt=0, description="T, by which logits are divided before they are compared")
    classification: float = Field(default=1.0, ge=0, description="weight of the student's own cross-entropy")
    head: MarginForm = Field(default="arcface", description="form of the margin: arcface or cosface")
    margin: float | None = Field(
        default=None, ge=0, le=1.5, description="m of both sides; 0.5 for arcface and 0.4 for cosface if left out"
    )
    scale: float = Field(default=64.0, gt=0, description="s, what cosines are multiplied by, on both sides")


@register_method(
    "hinton-kd",
    options=HintonOptions,
    needs=Needs(centres=True, labels=True),
    summary="cross-entropy plus the divergence of softened logits, T 4",
    source="arXiv 1503.02531",
    formula=(
        "L = c * CE(z_s, y) + T^2 * KL( softmax(z_t / T) || softmax(z_s / T) ), both means over images\n"
        "z_s: s * cos(f_s, v_j) with the margin on the own class, v_j: centres trained along with the student\n"
        "z_t: s * cos(f_t, w_j) with the same margin, w_j: the teacher's class centres; T 4, s 64\n"
        "Ours: w_j is the mean of the teacher's normalised embeddings where it has no classifier for these people;\n"
        "c 1 as in GKD's repository (others have 0.05 CE + 0.95 KL); margin=0 compares the cosines alone"
    ),
    published=(
        "MobileFaceNet 1.2 M, MS1MV2, IResNet-50 teacher (EKD paper): LFW 99.50, AgeDB 95.93, CPLFW 87.85,\n"
        "IJB-C 88.37 / 80.39 at FAR 1e-4 / 1e-5, below the undistilled student's 89.13 / 81.65"
    ),
)
class HintonDistillation(nn.Module):
    """The student's own margin head, and the divergence of its softened logits from the teacher's.

    Student and teacher may differ in size, since only logits are compared. Logits are s * cos, so that at T 4 a class
    has the weight exp(16 cos): an own class at cos 0.7 outweighs 70,000 that are orthogonal. With the margin, which the
    public ports leave on both sides, it is exp(16 cos(theta + 0.5)), some 80 of them. A smaller s or a larger T
    flattens further.

    Note that the port in MarginDistillation's repository ("margin_base_with_T") computes the teacher's logits and then
    does not use them: what it reports is no distillation.

    Args:
        options: see there.
        setting: sizes, identities and the teacher's centres; a UsageError without them.
    """

    centres: torch.Tensor

    def __init__(self, options: HintonOptions, setting: Setting) -> None:
        super().__init__()
        self.options = options
        margin = MARGINS[options.head] if options.margin is None else options.margin
        # A run that goes on is given the centres again, so that they need not be in each of its checkpoints.
        self.register_buffer("centres", teacher_centres(setting, "hinton-kd"), persistent=False)
        self.head = MarginHead(
            setting.student_size, setting.identities, margin_rule(options.head, options.scale, margin)
        )

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The sum of both parts; figures `train_accuracy`, `cross_entropy` and `divergence`.

        With one identity both are 0. A teacher that is wrong everywhere pulls against the cross-entropy. Embeddings of
        zeros, of the student or of the teacher, have all cosines 0; loss and gradient are finite.
        """
        temperature = self.options.temperature
        with torch.autocast(batch.student.device.type, enabled=False):
            student = unit_rows(batch.student)
            cosine = functional.linear(student, functional.normalize(self.head.centres.to(student.dtype)))
            logits = margin_logits(cosine, batch.labels, self.head.margin)
            taught = self.teacher_log_probabilities(batch.teacher.to(student.dtype), batch.labels)
            cross_entropy = functional.cross_entropy(logits, batch.labels)
            softened = functional.log_softmax(logits / temperature, dim=1)
            divergence = functional.kl_div(softened, taught, reduction="batchmean", log_target=True)
            divergence = temperature**2 * divergence
            loss = self.options.classification * cross_entropy + divergence
        one = torch.ones_like(loss.detach())
        figures = {
            "train_accuracy": accuracy(cosine, batch.labels),
            "cross_entropy": Figure(cross_entropy.detach(), one),
            "divergence": Figure(divergence.detach(), one),
        }
        return LossAndFigures(loss, figures)

    @torch.no_grad()
    def teacher_log_probabilities(self, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, T) -> log softmax(z_t / T), (B, C)."""
        cosine = functional.linear(unit_rows(teacher), self.centres.to(teacher.dtype))
        logits = margin_logits(cosine, labels, self.head.margin)
        return functional.log_softmax(logits.div_(self.options.temperature), dim=1)
