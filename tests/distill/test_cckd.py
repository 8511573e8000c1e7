from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from facedistill.distill.cckd import CckdDistillation, CckdOptions, expanded_kernel
from facedistill.distill.method import DistillationBatch
from facedistill.distill.sp import SpDistillation, SpOptions

from .made_batches import in_floats, made_batch, setting_of, turned


def loss(batch: DistillationBatch, **options: Any) -> torch.Tensor:
    return CckdDistillation(CckdOptions(**options), setting_of(batch))(batch).loss


def slow_kernel(a: list[float], b: list[float], gamma: float, order: int) -> float:
    cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
    terms = [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1)]
    return sum(terms)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.3, 5), (0.2, 1)])
def test_loss_equals_a_slow_loop(gamma: float, order: int) -> None:
    batch = made_batch(order)
    student, teacher = in_floats(batch.student), in_floats(batch.teacher)
    total = 0.0
    for i in range(10):
        for j in range(10):
            difference = slow_kernel(student[i], student[j], gamma, order) - slow_kernel(
                teacher[i], teacher[j], gamma, order
            )
            total += difference**2
    assert loss(batch, gamma=gamma, order=order).item() == pytest.approx(total / 100, rel=1e-12)


def test_defaults_are_those_of_tface() -> None:
    batch = made_batch(4)
    assert loss(batch).item() == loss(batch, gamma=0.4, order=2).item()


def test_the_expansion_nears_the_gaussian_kernel() -> None:
    cosine = torch.linspace(-1, 1, 9, dtype=torch.float64)
    kernel = torch.exp(-0.4 * (2 - 2 * cosine))
    assert torch.allclose(expanded_kernel(cosine, 0.4, 12), kernel, atol=1e-9)
    assert not torch.allclose(expanded_kernel(cosine, 0.4, 2), kernel, atol=1e-3)


def test_the_first_power_alone_is_similarity_preserving() -> None:
    batch = made_batch(5)
    factor = (math.exp(-0.8) * 0.8) ** 2
    sp = SpDistillation(SpOptions(), setting_of(batch))(batch).loss
    assert loss(batch, order=1).item() == pytest.approx(factor * sp.item(), rel=1e-12)


def test_gradient_by_finite_differences() -> None:
    batch = made_batch(0)
    assert torch.autograd.gradcheck(lambda student: loss(batch._replace(student=student)), (batch.student,))


def test_rotations_and_scale_change_nothing() -> None:
    batch = made_batch(0)
    other = batch._replace(student=3 * turned(batch.student), teacher=turned(batch.teacher) / 2)
    assert loss(other).item() == pytest.approx(loss(batch).item(), rel=1e-12)
