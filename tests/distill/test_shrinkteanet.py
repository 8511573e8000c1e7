from __future__ import annotations

import math

import pytest
import torch

from facedistill.distill.method import DistillationBatch
from facedistill.distill.shrinkteanet import ShrinkTeaNetDistillation, ShrinkTeaNetOptions

from .made_batches import in_floats, made_batch, setting_of


def loss(batch: DistillationBatch) -> torch.Tensor:
    return ShrinkTeaNetDistillation(ShrinkTeaNetOptions(), setting_of(batch))(batch).loss


@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_a_slow_loop_and_is_blind_to_length(seed: int) -> None:
    batch = made_batch(seed, teacher_size=6)
    total = 0.0
    for s, t in zip(in_floats(batch.student), in_floats(batch.teacher), strict=True):
        cosine = sum(a * b for a, b in zip(s, t, strict=True)) / (math.hypot(*s) * math.hypot(*t))
        total += (1 - cosine) ** 2
    assert loss(batch).item() == pytest.approx(total / 10, rel=1e-12)
    longer = batch._replace(student=5 * batch.student, teacher=batch.teacher / 3)
    assert loss(longer).item() == pytest.approx(total / 10, rel=1e-12)


def test_gradient_by_finite_differences() -> None:
    batch = made_batch(0, teacher_size=6)
    assert torch.autograd.gradcheck(lambda student: loss(batch._replace(student=student)), (batch.student,))


def test_a_student_near_its_teacher_is_hardly_pulled() -> None:
    batch = made_batch(0, teacher_size=6)
    near = (batch.teacher + 1e-3 * batch.student.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(loss(batch._replace(student=near)), near)
    (far_slope,) = torch.autograd.grad(loss(batch), batch.student)
    assert slope.abs().max() < 1e-5 * far_slope.abs().max()
