from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from facedistill.distill.darkrank import DarkRankDistillation, DarkRankOptions, nearest_images, ranking_loss
from facedistill.distill.method import DistillationBatch
from facedistill.distill.similarity import pairwise_cosines

from .made_batches import in_floats, made_batch, setting_of, turned


def loss(batch: DistillationBatch, **options: Any) -> torch.Tensor:
    return DarkRankDistillation(DarkRankOptions(**options), setting_of(batch))(batch).loss


def unit(rows: list[list[float]]) -> list[list[float]]:
    return [[value / math.hypot(*row) for value in row] for row in rows]


def slow_loss(batch: DistillationBatch, alpha: float, beta: float, length: int) -> float:
    student, teacher = unit(in_floats(batch.student)), unit(in_floats(batch.teacher))
    total = 0.0
    for i in range(len(student)):
        others = sorted((j for j in range(len(student)) if j != i), key=lambda j: math.dist(teacher[i], teacher[j]))
        scores = [-alpha * math.dist(student[i], student[j]) ** beta for j in others[:length]]
        for place, score in enumerate(scores):
            total -= math.log(math.exp(score) / sum(math.exp(later) for later in scores[place:]))
    return total / len(student)


@pytest.mark.parametrize(("alpha", "beta", "length"), [(3, 3, 3), (1, 2, 4), (0.5, 1, 9), (3, 3, 50)])
def test_loss_equals_a_slow_loop(alpha: float, beta: float, length: int) -> None:
    batch = made_batch(length)
    expected = slow_loss(batch, alpha, beta, length)
    assert loss(batch, alpha=alpha, beta=beta, length=length).item() == pytest.approx(expected, rel=1e-9)


def test_defaults_are_the_published_ones() -> None:
    batch = made_batch(1)
    assert loss(batch).item() == pytest.approx(slow_loss(batch, 3, 3, 3), rel=1e-9)


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_gradient_by_finite_differences(beta: float) -> None:
    batch = made_batch(0)
    assert torch.autograd.gradcheck(lambda student: loss(batch._replace(student=student), beta=beta), (batch.student,))


def test_rotations_and_scale_change_nothing() -> None:
    batch = made_batch(0)
    other = batch._replace(student=3 * turned(batch.student), teacher=turned(batch.teacher) / 2)
    assert loss(other).item() == pytest.approx(loss(batch).item(), rel=1e-12)


def test_only_the_order_of_the_teacher_counts() -> None:
    batch = made_batch(3, teacher_size=2)
    angle = torch.atan2(batch.teacher[:, 1], batch.teacher[:, 0])
    # Squeezed together on the circle, with the same neighbours in the same order.
    angle = angle / 3
    squeezed = torch.stack([angle.cos(), angle.sin()], dim=1)
    apart = batch._replace(teacher=torch.stack([(1.5 * angle).cos(), (1.5 * angle).sin()], dim=1))
    assert loss(batch._replace(teacher=squeezed)).item() == loss(apart).item()


def test_an_image_is_no_neighbour_of_itself_even_if_it_is_there_twice() -> None:
    # Public code sorts the image itself in and drops the first: with a copy in the batch, that may be the copy.
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    nearest = nearest_images(pairwise_cosines(teacher), 3)
    assert nearest.tolist() == [[1, 2, 3], [0, 2, 3], nearest[2].tolist(), [2, *nearest[3, 1:].tolist()]]
    assert all(image not in row for image, row in enumerate(nearest.tolist()))


def test_the_likelihood_by_hand() -> None:
    scores = torch.tensor([[math.log(3.0), math.log(2.0), math.log(1.0)]], dtype=torch.float64)
    assert ranking_loss(scores).item() == pytest.approx(-math.log(3 / 6 * 2 / 3 * 1))


def test_degenerate_batches_give_what_the_docstring_says() -> None:
    pair = made_batch(0, labels=(0, 1))
    assert loss(pair).item() == 0
    batch = made_batch(0)
    for beta in (1.0, 3.0):
        same = torch.ones(10, 6, requires_grad=True)
        found = loss(batch._replace(student=same), beta=beta)
        (gradient,) = torch.autograd.grad(found, same)
        assert found.item() == pytest.approx(math.log(6))
        assert gradient.abs().max().item() == 0


def test_the_figure_counts_common_nearest_images() -> None:
    batch = made_batch(0)
    same = batch._replace(student=turned(batch.teacher))
    total, weight = DarkRankDistillation(DarkRankOptions(), setting_of(same))(same).figures["same_nearest"]
    assert weight is not None
    assert (int(total), int(weight)) == (10, 10)


def test_a_student_taught_by_it_alone_needs_a_long_list() -> None:
    # With the published three neighbours the loss falls far below the teacher's own, and the structure goes with it.
    batch = made_batch(0, labels=tuple(range(24)))
    teacher = batch.teacher.float()
    expected = pairwise_cosines(teacher).flatten()
    correlation, losses = {}, {}
    for length in (3, 16):
        student = (teacher[:, :6] + 0.3 * batch.student.detach().float()).requires_grad_()
        optimizer = torch.optim.Adam([student], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            losses[length] = loss(batch._replace(student=student, teacher=teacher), length=length)
            losses[length].backward()
            optimizer.step()
        found = pairwise_cosines(student.detach()).flatten()
        correlation[length] = float(torch.corrcoef(torch.stack([found, expected]))[0, 1])
    assert losses[3] < 0.7 * loss(batch._replace(student=teacher, teacher=teacher))
    assert correlation[16] > correlation[3] + 0.1
