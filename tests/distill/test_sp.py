from __future__ import annotations

import math
from typing import Literal

import pytest
import torch

from facedistill.distill.method import DistillationBatch
from facedistill.distill.sp import SpDistillation, SpOptions

from .made_batches import in_floats, made_batch, setting_of, turned

Normalised = Literal["embeddings", "rows"]


def loss(batch: DistillationBatch, normalised: Normalised = "embeddings") -> torch.Tensor:
    return SpDistillation(SpOptions(normalised=normalised), setting_of(batch))(batch).loss


def slow_gram(rows: list[list[float]], normalised: str) -> list[list[float]]:
    if normalised == "embeddings":
        rows = [[value / math.hypot(*row) for value in row] for row in rows]
    gram = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    return gram if normalised == "embeddings" else [[value / math.hypot(*row) for value in row] for row in gram]


@pytest.mark.parametrize("normalised", ["embeddings", "rows"])
@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_a_slow_loop(seed: int, normalised: Normalised) -> None:
    batch = made_batch(seed)
    student, teacher = (slow_gram(in_floats(side), normalised) for side in (batch.student, batch.teacher))
    total = sum((student[i][j] - teacher[i][j]) ** 2 for i in range(10) for j in range(10))
    assert loss(batch, normalised).item() == pytest.approx(total / 100, rel=1e-12)


@pytest.mark.parametrize("normalised", ["embeddings", "rows"])
def test_gradient_by_finite_differences(normalised: Normalised) -> None:
    batch = made_batch(0)
    assert torch.autograd.gradcheck(lambda student: loss(batch._replace(student=student), normalised), (batch.student,))


@pytest.mark.parametrize("normalised", ["embeddings", "rows"])
def test_rotations_and_scale_change_nothing(normalised: Normalised) -> None:
    batch = made_batch(0)
    other = batch._replace(student=3 * turned(batch.student), teacher=turned(batch.teacher) / 2)
    assert loss(other, normalised).item() == pytest.approx(loss(batch, normalised).item(), rel=1e-12)
    # A student of another size whose cosines are the teacher's has nothing left to learn.
    wider = torch.cat([turned(batch.teacher), torch.zeros(10, 4, dtype=torch.float64)], dim=1)
    assert loss(batch._replace(student=wider), normalised).item() == pytest.approx(0, abs=1e-24)


def test_the_figure_leaves_out_the_images_themselves() -> None:
    batch = made_batch(0)
    student, teacher = (slow_gram(in_floats(side), "embeddings") for side in (batch.student, batch.teacher))
    gaps = [abs(student[i][j] - teacher[i][j]) for i in range(10) for j in range(10) if i != j]
    total, weight = SpDistillation(SpOptions(), setting_of(batch))(batch).figures["cosine_gap"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx(sum(gaps) / len(gaps))
