"""Grouped knowledge distillation (Zhao et al., AAAI 2023, arXiv 2304.04462): the classes that matter, by themselves."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from facedistill.distill.centres import teacher_centres
from facedistill.distill.grouped_divergence import group_size, grouped_divergence, primary_group
from facedistill.distill.margin_logits import accuracy, margin_logits, margin_rule
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import unit_rows
from facedistill.heads import MarginHead
from facedistill.loss import Figure, LossAndFigures
from facedistill.ranks import ranks, sum_over_ranks


class GroupedOptions(MethodOptions):
    """The group, the weights of the parts, and the margin of both networks' logits."""

    tau: float = Field(default=0.93, gt=0, le=1, description="probability that the primary group has to reach")
    group: int | None = Field(
        default=None, ge=1, description="a fixed size of the primary group (the paper's plain version has 10000)"
    )
    step: int = Field(
        default=1, ge=1, description="steps in which the size is searched: 1 is exact (ours), the public code has 100"
    )
    primary: float = Field(default=8.0, ge=0, description="lambda 1, weight of the divergence within the group")
    binary: float = Field(default=1.0, ge=0, description="lambda 2, weight of the group against the rest")
    temperature: float = Field(default=4.0, gt=0, description="T, by which logits are divided before they are compared")
    ramp_epochs: float = Field(default=10.0, ge=0, description="epochs until both weights have grown from 0 to full")
    classification: float = Field(default=1.0, ge=0, description="weight of the student's own cross-entropy")
    margin: float = Field(default=0.4, ge=0, le=1.5, description="CosFace's m on both sides")
    scale: float = Field(default=64.0, gt=0, description="s, what cosines are multiplied by, on both sides")


@register_method(
    "gkd",
    options=GroupedOptions,
    needs=Needs(centres=True, labels=True),
    summary="divergence of softened logits in the group of likely classes, and of group against rest",
    source="arXiv 2304.04462",
    formula=(
        "L = CE(z_s, y) + w * (lambda1 * L_primary + lambda2 * L_binary), w = min(epoch / 10, 1), epochs from 0\n"
        "L_primary = T^2 * KL( softmax(z_t / T within G) || softmax(z_s / T within G) )\n"
        "L_binary = T^2 * KL( (P_t, 1 - P_t) || (P_s, 1 - P_s) ), P = the sum over G of softmax(z / T)\n"
        "G: the own class and the student's likeliest, K together; K: as many as it takes for the student's softmax\n"
        "(T 1, averaged over the batch, sorted) to add up to tau 0.93\n"
        "z_s, z_t: s * (cos - m on the own class), s 64, m 0.4, with centres that the student trains for z_s and the\n"
        "teacher's class centres for z_t; lambda1 8, lambda2 1 (gkd_adaptive.py has 4 and 1), T 4\n"
        "Ours: K exactly (step=100 as published), from the batch of all processes; the means of the teacher's\n"
        "normalised embeddings as its classifier where it has none for these people"
    ),
    published=(
        "arcface_torch's MobileFaceNet 2.06 M, MS1MV2, SE-IR-50 teacher (a reading note): IJB-C 94.34 / 91.01 at\n"
        "FAR 1e-4 / 1e-5; the same network undistilled, 40 epochs: 93.61 / 90.28"
    ),
)
class GroupedDistillation(nn.Module):
    """The student's own CosFace head, and the two divergences of its softened logits from the teacher's.

    Student and teacher may differ in size, since only logits are compared. The public code counts epochs in whole
    numbers from 0, so that the first one is trained by the cross-entropy alone; so does this.

    Args:
        options: see there.
        setting: sizes, identities, batches of an epoch and the teacher's centres; a UsageError without them.

    Attributes:
        calls: 0-d int64, batches trained on; by it the ramp goes on where a run was cut off.
    """

    centres: torch.Tensor
    calls: torch.Tensor

    def __init__(self, options: GroupedOptions, setting: Setting) -> None:
        super().__init__()
        self.options = options
        self.batches_per_epoch = max(1, setting.batches_per_epoch)
        # A run that goes on is given the centres again, so that they need not be in each of its checkpoints.
        self.register_buffer("centres", teacher_centres(setting, "gkd"), persistent=False)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.head = MarginHead(
            setting.student_size, setting.identities, margin_rule("cosface", options.scale, options.margin)
        )

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The sum of the parts; figures `train_accuracy`, `cross_entropy`, `primary`, `binary`, `group` and `ramp`.

        `primary` and `binary` are logged as they are before weights and ramp. Where the group is all classes the binary
        part is 0, where it is the own one alone the primary part; with one identity everything is. A teacher that is
        wrong everywhere pulls against the cross-entropy. Embeddings of zeros have all cosines 0; loss and gradient are
        finite.
        """
        options = self.options
        with torch.autocast(batch.student.device.type, enabled=False):
            student = unit_rows(batch.student)
            cosine = functional.linear(student, functional.normalize(self.head.centres.to(student.dtype)))
            logits = margin_logits(cosine, batch.labels, self.head.margin)
            figures = {"train_accuracy": accuracy(cosine, batch.labels)}
            del cosine
            cross_entropy = functional.cross_entropy(logits, batch.labels)
            size = self.size_of_group(logits.detach())
            group = primary_group(logits.detach(), batch.labels, size)
            taught = self.teacher_logits(batch.teacher.to(student.dtype), batch.labels)
            within, between = grouped_divergence(logits / options.temperature, taught.div_(options.temperature), group)
            primary = options.temperature**2 * within.mean()
            binary = options.temperature**2 * between.mean()
            ramp = self.ramp().to(primary.dtype)
            distilled = options.primary * primary + options.binary * binary
            loss = options.classification * cross_entropy + ramp * distilled
        if self.training:
            self.calls += 1
        values = {
            "cross_entropy": cross_entropy,
            "primary": primary,
            "binary": binary,
            "group": size.float(),
            "ramp": ramp,
        }
        one = torch.ones_like(loss.detach())
        figures |= {name: Figure(value.detach(), one) for name, value in values.items()}
        return LossAndFigures(loss, figures)

    def ramp(self) -> torch.Tensor:
        """The ramp w of the present epoch, 0-d."""
        if self.options.ramp_epochs == 0:
            return torch.ones((), device=self.calls.device)
        epoch = torch.div(self.calls, self.batches_per_epoch, rounding_mode="floor")
        return (epoch / self.options.ramp_epochs).clamp(max=1)

    @torch.no_grad()
    def size_of_group(self, logits: torch.Tensor) -> torch.Tensor:
        """The student's logits (B, C) -> K, 0-d int64 on the device, the same in all processes."""
        if self.options.group is not None:
            return torch.full((), min(self.options.group, logits.shape[1]), device=logits.device)
        probability = sum_over_ranks(functional.softmax(logits, dim=1).mean(dim=0)) / ranks()
        return group_size(probability, tau=self.options.tau, step=self.options.step)

    @torch.no_grad()
    def teacher_logits(self, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, T) -> z_t (B, C)."""
        cosine = functional.linear(unit_rows(teacher), self.centres.to(teacher.dtype))
        return margin_logits(cosine, labels, self.head.margin)
