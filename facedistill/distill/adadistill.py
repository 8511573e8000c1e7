"""AdaDistill (Boutros et al., ECCV 2024, arXiv 2407.01332): margin softmax against running centres of the teacher."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from facedistill.distill.centres import require_teacher
from facedistill.distill.margin_logits import (
    MarginForm,
    accuracy,
    margin_logits,
    margin_rule,
)
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.loss import LossAndFigures, mean_figure
from facedistill.ranks import gather, rank

# The best margins of the poster's ablation, by form.
MARGINS = {"arcface": 0.45, "cosface": 0.35}


class AdaDistillOptions(MethodOptions):
    """How the centres move, and the margin softmax against them."""

    hard: bool = Field(
        default=True,
        description="alpha', which also looks at how typical the teacher finds the image (the paper's best)",
    )
    head: MarginForm = Field(default="arcface", description="form of the margin: arcface or cosface")
    margin: float | None = Field(
        default=None, ge=0, le=1.5, description="m; 0.45 for arcface and 0.35 for cosface if left out"
    )
    scale: float = Field(default=64.0, gt=0, description="s, what cosines are multiplied by")


@torch.no_grad()
def centre_shares(student: torch.Tensor, teacher: torch.Tensor, old: torch.Tensor, *, hard: bool) -> torch.Tensor:
    """The alpha of each image: what part of its class's centre is kept; the rest becomes the teacher's embedding.

    alpha = clip(cos(f_s, f_t)) or, for `hard`, alpha' = clip(cos(f_s, f_t)) * clip(cos(w, f_t)), clipped to [0, 1].
    Each factor is clipped by itself, since two negative cosines must not make a large alpha (the public code clips the
    second one too). A class seen for the first time has no centre to keep: alpha is 0. An embedding of zeros by the
    teacher says nothing, so that the centre is kept whole: alpha is 1. So it is where the student's embedding is not
    finite, as half precision makes it now and then in a step that is thrown away; the centre would stay NaN for good.

    Args:
        student: (B, T) unit vectors.
        teacher: (B, T) unit vectors, or rows of zeros.
        old: (B, T) the present centre of each image's class, of any length; zeros before its first sight.
        hard: alpha' rather than alpha.

    Returns:
        (B,) in [0, 1].
    """
    alpha = (student * teacher).sum(dim=1).clamp(0, 1)
    length = old.norm(dim=1)
    if hard:
        alpha = alpha * ((old * teacher).sum(dim=1) / length.clamp(min=1e-12)).clamp(0, 1)
    alpha = torch.where(length > 0, alpha.nan_to_num(nan=1.0), 0)
    return torch.where(teacher.abs().amax(dim=1) > 0, alpha, 1)


@torch.no_grad()
def move_centres(centres: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, alpha: torch.Tensor) -> None:
    """Set each class of the batch to the mean over its images of alpha * w + (1 - alpha) * f_t, in place.

    With one image of a class this is the published rule. With several the public code lets the one that is written
    last win, whichever that is; the mean depends on no order, and needs no loop.

    Args:
        centres: (C, T).
        labels: (B,) classes.
        teacher: (B, T) unit vectors.
        alpha: (B,).
    """
    same = labels[:, None] == labels[None, :]
    moved = alpha[:, None] * centres[labels].to(teacher.dtype) + (1 - alpha[:, None]) * teacher
    mean = (same.to(moved.dtype) @ moved) / same.sum(dim=1, keepdim=True)
    # Rows of one class can differ in their last bit, and the order of writing is open: all write what the first has.
    rows = torch.arange(len(labels), device=labels.device)
    first = torch.where(same, rows[None, :], len(labels)).amin(dim=1)
    centres[labels] = mean[first].to(centres.dtype)


@register_method(
    "adadistill",
    options=AdaDistillOptions,
    needs=Needs(equal_sizes=True, labels=True),
    summary="margin softmax against class centres that run after the teacher",
    source="arXiv 2407.01332",
    formula=(
        "L = mean over images i of -log softmax(z_i)[y_i], z_ij = s * cos(f_s, w_j), for y_i s * cos(theta + m)\n"
        "w_y <- alpha * w_y + (1 - alpha) * f_t before the loss is taken\n"
        "alpha = clip(cos(f_s, f_t)); with hard=true (default) alpha' = alpha * clip(cos(w_y, f_t)); clip to [0, 1]\n"
        "f_s, f_t: normalised embeddings of student and teacher; w_j: centre of class j; y_i: who image i is\n"
        "Ours: a class starts with its first teacher embedding exactly, and is orthogonal to everybody before;\n"
        "several images of one class move its centre to the mean of what each would; the same in all processes"
    ),
    published=(
        "MobileFaceNet 1.2 M, MS1MV2, IResNet-50 teacher (poster): LFW 99.58, AgeDB 96.78, CPLFW 90.02,\n"
        "IJB-C 93.27 / 89.32 at FAR 1e-4 / 1e-5; undistilled 99.52, 95.82, 87.93, 89.13 / 81.65"
    ),
)
class AdaDistill(nn.Module):
    """Running centres of teacher embeddings, and the student's margin softmax against them; nothing to train.

    While the student is far from the teacher, alpha is small and a centre is nearly the teacher's last embedding of the
    person; the nearer it comes, the more the centre becomes a mean over images. As in the public code the teacher's
    embedding is normalised before it is mixed in, the centre is moved before it is used, and it is not normalised in
    between. Ours: centres start at zero rather than at random, so that a class nobody has seen yet is orthogonal to
    every embedding and pulls at none.

    The centres move in training mode alone, by the images of all processes. They are the state of this module.

    Args:
        options: see there.
        setting: sizes, which have to be equal, and the number of identities; without a teacher a UsageError.

    Attributes:
        centres: (C, T) float32, lengths of up to 1; zeros for a class that was not met yet.
    """

    centres: torch.Tensor

    def __init__(self, options: AdaDistillOptions, setting: Setting) -> None:
        super().__init__()
        require_teacher(setting, "adadistill", equal_sizes=True)
        self.hard = options.hard
        self.rule = margin_rule(
            options.head, options.scale, MARGINS[options.head] if options.margin is None else options.margin
        )
        self.register_buffer("centres", torch.zeros(setting.identities, setting.teacher_size))

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Move the centres, then the mean cross-entropy against them; figures `alpha` and `centre_accuracy`.

        With one identity the loss is 0. Everything else that may be odd about a batch gives a finite loss and gradient:
        two images, identical student embeddings, a student that is the teacher, or one of length zero, whose cosines
        are all 0. A teacher that is wrong everywhere gives centres that are wrong.
        """
        with torch.autocast(batch.student.device.type, enabled=False):
            student = unit_rows(batch.student)
            alpha = self.update(student.detach(), batch.teacher.detach(), batch.labels)
            cosine = functional.linear(student, self.centres.to(student.dtype))
            # In place and after the product, since a copy of all centres would take more room.
            cosine.mul_(1 / torch.linalg.vector_norm(self.centres, dim=1).clamp(min=1e-12).to(cosine.dtype))
            loss = functional.cross_entropy(margin_logits(cosine, batch.labels, self.rule), batch.labels)
        return LossAndFigures(loss, {"alpha": mean_figure(alpha), "centre_accuracy": accuracy(cosine, batch.labels)})

    @torch.no_grad()
    def update(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Move the centres, in training mode, by the images of all processes; each own image's alpha (B,).

        Args:
            student: (B, T) unit vectors of this process's images.
            teacher: (B, T) embeddings of any length.
            labels: (B,).
        """
        own = slice(rank() * len(labels), (rank() + 1) * len(labels))
        student, labels = gather(student), gather(labels)
        teacher = unit_rows(gather(teacher).to(student.dtype))
        alpha = centre_shares(student, teacher, self.centres[labels].to(student.dtype), hard=self.hard)
        if self.training:
            move_centres(self.centres, labels, teacher, alpha)
        return alpha[own]
