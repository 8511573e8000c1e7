from __future__ import annotations

import pytest
import torch

from facedistill.distill.cosine import CosineDistillation, CosineOptions
from facedistill.distill.method import DistillationBatch

from .made_batches import made_batch, setting_of


def method(batch: DistillationBatch):  # type: ignore[no-untyped-def]
    return CosineDistillation(CosineOptions(), setting_of(batch))


def test_loss_by_hand_and_blind_to_length() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    teacher = torch.tensor([[1.0, 1.0], [0.0, 0.5]])
    batch = DistillationBatch(student, teacher, torch.tensor([0, 1]))
    output = method(batch)(batch)
    assert output.loss.item() == pytest.approx(1 - (0.5**0.5 + 1) / 2)
    longer = method(batch)(batch._replace(student=9 * student, teacher=7 * teacher))
    assert longer.loss.item() == pytest.approx(output.loss.item())
    total, weight = output.figures["cosine"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx((0.5**0.5 + 1) / 2)


def test_gradient_by_finite_differences() -> None:
    batch = made_batch(0, teacher_size=6)
    loss_of = method(batch)
    assert torch.autograd.gradcheck(lambda student: loss_of(batch._replace(student=student)).loss, (batch.student,))


def test_an_embedding_of_length_zero_has_a_gradient_of_ordinary_size() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    batch = DistillationBatch(student, torch.eye(3)[:2], torch.tensor([0, 1]))
    output = method(batch)(batch)
    output.loss.backward()
    assert output.loss.item() == 1
    assert student.grad is not None
    # functional.normalize divides by 1e-12 here, and the step that follows destroys the student.
    assert 0 < student.grad.abs().max() <= 1
