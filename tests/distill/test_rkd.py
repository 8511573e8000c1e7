from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from facedistill.distill import rkd
from facedistill.distill.method import DistillationBatch
from facedistill.distill.rkd import RkdDistillation, RkdOptions

from .made_batches import in_floats, made_batch, setting_of, turned


def loss(batch: DistillationBatch, **options: Any) -> torch.Tensor:
    return RkdDistillation(RkdOptions(**options), setting_of(batch))(batch).loss


def smooth(difference: float) -> float:
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def slow_distances(rows: list[list[float]]) -> list[float]:
    distances = [math.dist(a, b) for a in rows for b in rows]
    positive = [distance for distance in distances if distance > 0]
    return [distance / (sum(positive) / len(positive)) for distance in distances] if positive else distances


def slow_cosine(i: list[float], j: list[float], k: list[float]) -> float:
    one = [a - b for a, b in zip(i, j, strict=True)]
    other = [a - b for a, b in zip(k, j, strict=True)]
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def slow_terms(student: list[list[float]], teacher: list[list[float]]) -> tuple[float, float]:
    pairs = zip(slow_distances(student), slow_distances(teacher), strict=True)
    distance = [smooth(s - t) for s, t in pairs]
    triples = itertools.product(range(len(student)), repeat=3)
    angle = [
        smooth(slow_cosine(*(student[i] for i in triple)) - slow_cosine(*(teacher[i] for i in triple)))
        for triple in triples
    ]
    return sum(distance) / len(distance), sum(angle) / len(angle)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("at_once", [1 << 24, 250, 1])
def test_loss_equals_a_slow_loop(normalised: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rkd, "ANGLES_AT_ONCE", at_once)
    batch = made_batch(2)
    student, teacher = in_floats(batch.student), in_floats(batch.teacher)
    if normalised:
        student, teacher = ([[x / math.hypot(*row) for x in row] for row in side] for side in (student, teacher))
    distance, angle = slow_terms(student, teacher)
    output = RkdDistillation(RkdOptions(normalised=normalised), setting_of(batch))(batch)
    assert output.loss.item() == pytest.approx(distance + 2 * angle, rel=1e-10)
    assert output.figures["rkd_distance"].total.item() == pytest.approx(distance, rel=1e-10)
    assert output.figures["rkd_angle"].total.item() == pytest.approx(angle, rel=1e-10)
    tface = loss(batch, distance_weight=25, angle_weight=50, normalised=normalised)
    assert tface.item() == pytest.approx(25 * distance + 50 * angle, rel=1e-10)


@pytest.mark.parametrize("at_once", [1 << 24, 150])
def test_gradient_by_finite_differences(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rkd, "ANGLES_AT_ONCE", at_once)
    batch = made_batch(0, labels=(0, 0, 1, 1, 2, 3))
    assert torch.autograd.gradcheck(lambda student: loss(batch._replace(student=student)), (batch.student,))


def test_rotation_shift_and_scale_change_nothing() -> None:
    batch = made_batch(0)
    other = batch._replace(student=3 * turned(batch.student) + 5, teacher=turned(batch.teacher) / 2 - 1)
    assert loss(other).item() == pytest.approx(loss(batch).item(), rel=1e-9)
    wider = torch.cat([turned(batch.teacher), torch.ones(10, 4, dtype=torch.float64)], dim=1)
    assert loss(batch._replace(student=wider)).item() == pytest.approx(0, abs=1e-20)


def test_images_in_one_place_count_as_in_the_formula() -> None:
    batch = made_batch(1)
    student = batch.student.detach().clone()
    student[3] = student[0]
    student[7] = student[0]
    student = student.float().requires_grad_()
    teacher = batch.teacher.float()
    distance, angle = slow_terms(in_floats(student), in_floats(teacher))
    found = loss(batch._replace(student=student, teacher=teacher))
    assert found.item() == pytest.approx(distance + 2 * angle, rel=1e-5)
    (gradient,) = torch.autograd.grad(found, student)
    assert torch.isfinite(gradient).all()


def test_what_rounding_puts_apart_is_in_one_place() -> None:
    rows = torch.randn(100, 33, generator=torch.Generator().manual_seed(0))
    distance, _ = rkd.distances_and_gram(torch.cat([rows, rows * (1 + 2e-7)]))
    assert distance[:100, 100:].diagonal().abs().max().item() == 0
    # What float32 can tell apart is told apart.
    distance, _ = rkd.distances_and_gram(torch.cat([rows, rows * 1.01]))
    assert distance[:100, 100:].diagonal().min().item() > 0


def test_a_collapsed_network_has_no_relations() -> None:
    batch = made_batch(1)
    one_place = torch.full((10, 6), 2 / 3, requires_grad=True)
    found = loss(batch._replace(student=one_place, teacher=batch.teacher.float()))
    distance, angle = slow_terms(in_floats(one_place), in_floats(batch.teacher))
    assert found.item() == pytest.approx(distance + 2 * angle, rel=1e-5)
    (gradient,) = torch.autograd.grad(found, one_place)
    assert gradient.abs().max().item() == 0


def test_far_from_the_origin_distances_keep_their_digits() -> None:
    batch = made_batch(1)
    student, teacher = batch.student.detach().float(), batch.teacher.float()
    near = loss(batch._replace(student=student, teacher=teacher)).item()
    far = loss(batch._replace(student=student + 1000, teacher=teacher)).item()
    assert far == pytest.approx(near, rel=1e-3)


def test_memory_of_the_angles_does_not_grow_with_the_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rkd, "ANGLES_AT_ONCE", 40 * 40 * 4)
    batch = made_batch(0, labels=tuple(range(40)))
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = loss(batch)
    assert max(kept) <= 40 * 40
    assert len(kept) < 200
    found.backward()
    assert batch.student.grad is not None


def test_a_weight_of_zero_skips_the_angles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rkd, "angle_loss", None)
    batch = made_batch(0)
    output = RkdDistillation(RkdOptions(angle_weight=0), setting_of(batch))(batch)
    distance, _ = slow_terms(in_floats(batch.student), in_floats(batch.teacher))
    assert output.loss.item() == pytest.approx(distance)
    assert "rkd_angle" not in output.figures
