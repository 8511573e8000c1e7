from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from facedistill.distill.ekd import EkdDistillation, EkdOptions, thresholds_passed
from facedistill.distill.method import DistillationBatch

from .made_batches import in_floats, made_batch, setting_of, turned

# 24 images of 12 people make 264 negative pairs: three different places for six thresholds.
PEOPLE = tuple(image // 2 for image in range(24))


def made_method(batch: DistillationBatch, **options: Any) -> torch.nn.Module:
    method = EkdDistillation(EkdOptions(**options), setting_of(batch))
    assert isinstance(method, torch.nn.Module)
    return method.double()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


class SlowEkd:
    """EKD for one pair at a time, in Python's floats."""

    def __init__(self, *, start: list[float] | None = None, hard: int = 2000, count: int = 6) -> None:
        self.student = self.teacher = start
        self.hard, self.count = hard, count

    def loss(self, batch: DistillationBatch) -> float:
        student, teacher = in_floats(batch.student), in_floats(batch.teacher)
        positives, negatives = [], []
        for i, j in itertools.combinations(range(len(student)), 2):
            pair = (cosine(student[i], student[j]), cosine(teacher[i], teacher[j]))
            (positives if batch.labels[i] == batch.labels[j] else negatives).append(pair)
        if negatives:
            self.student = self.updated(self.student, sorted((s for s, _ in negatives), reverse=True))
            self.teacher = self.updated(self.teacher, sorted((t for _, t in negatives), reverse=True))
        hardest = sorted(negatives, reverse=True)[: self.hard]
        return 0.02 * self.mean(positives) + 0.01 * self.mean(hardest)

    def updated(self, running: list[float] | None, falling: list[float]) -> list[float]:
        new = [falling[len(falling) // 10 ** (k + 1)] for k in range(self.count)]
        return new if running is None else [0.01 * a + 0.99 * b for a, b in zip(new, running, strict=True)]

    def mean(self, pairs: list[tuple[float, float]]) -> float:
        student, teacher = self.student or [0.0] * self.count, self.teacher or [0.0] * self.count
        squares = [(self.passed(s, student) - self.passed(t, teacher)) ** 2 for s, t in pairs]
        return sum(squares) / len(squares) if squares else 0.0

    @staticmethod
    def passed(x: float, thresholds: list[float]) -> float:
        return sum(1 / (1 + math.exp(min(50.0, max(-50.0, -(x - theta) / 0.01)))) for theta in thresholds)


@pytest.mark.parametrize("first", ["first-batch", "zero"])
def test_losses_of_a_run_equal_a_slow_loop(first: str) -> None:
    start = None if first == "first-batch" else [0.0] * 6
    slow = SlowEkd(start=start)
    method = made_method(made_batch(0, labels=PEOPLE), first_thresholds=first)
    for step in range(4):
        # Another number of negatives in every batch.
        batch = made_batch(step, labels=PEOPLE[: 24 - 3 * step])
        assert method(batch).loss.item() == pytest.approx(slow.loss(batch), rel=1e-9)
    assert slow.student is not None
    assert method.student_thresholds.tolist() == pytest.approx(slow.student)
    assert method.teacher_thresholds.tolist() == pytest.approx(slow.teacher)


def test_only_the_hardest_negatives_of_the_student_count() -> None:
    batch = made_batch(7, labels=PEOPLE)
    output = made_method(batch, hard_negatives=20)(batch)
    assert output.loss.item() == pytest.approx(SlowEkd(hard=20).loss(batch), rel=1e-9)
    assert output.figures["negative_rank"].weight is not None
    assert int(output.figures["negative_rank"].weight) == 20
    assert output.loss.item() != pytest.approx(SlowEkd().loss(batch), rel=1e-3)


def test_places_of_the_thresholds_by_hand() -> None:
    method = made_method(made_batch(0), thresholds=3)
    falling = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    method.update(falling, falling, torch.tensor(1000))
    assert method.student_thresholds.tolist() == [falling[100].item(), falling[10].item(), falling[1].item()]
    few = made_method(made_batch(0))
    # 10 ** 5 * 1e-5 in floats is below 1; whole numbers find place 1 exactly.
    falling = torch.arange(100_000, 0, -1, dtype=torch.float64) / 100_000
    few.update(falling, falling, torch.tensor(100_000))
    # Quirk of the published method: the sixth threshold is the batch's largest cosine (METHODS.md 3.4).
    assert few.student_thresholds[4:].tolist() == [falling[1].item(), falling[0].item()]


def test_the_first_batch_sets_the_thresholds_and_the_next_moves_them_by_a_hundredth() -> None:
    batch, other = made_batch(0, labels=PEOPLE), made_batch(1, labels=PEOPLE)
    method = made_method(batch)
    method(batch)
    first = method.student_thresholds.clone()
    fresh = made_method(batch)
    fresh(other)
    method(other)
    assert torch.allclose(method.student_thresholds, 0.99 * first + 0.01 * fresh.student_thresholds)
    published = made_method(batch, first_thresholds="zero")
    published(batch)
    # After a batch the published thresholds are a hundredth of what they should be: nearly every pair passes them all.
    assert torch.allclose(published.student_thresholds, 0.01 * first)


def test_gradient_by_finite_differences() -> None:
    batch = made_batch(0)
    # A soft threshold, since finite differences are coarse beside a tau of 0.01.
    method = made_method(batch, tau=0.3, positive_weight=1, negative_weight=1)
    method(batch)
    # The thresholds follow the batch without a gradient, which finite differences would see; eval keeps them.
    method.eval()
    before = method.student_thresholds.clone()
    assert torch.autograd.gradcheck(lambda student: method(batch._replace(student=student)).loss, (batch.student,))
    assert torch.equal(before, method.student_thresholds)


def test_the_backward_pass_of_two_batches_at_once() -> None:
    # Gradients of several batches may be gathered: the thresholds change in place between forward and backward.
    batch, other = made_batch(0), made_batch(1)
    method = made_method(batch)
    (method(batch).loss + method(other).loss).backward()
    assert batch.student.grad is not None
    assert torch.isfinite(batch.student.grad).all()


def test_rotations_and_scale_change_nothing() -> None:
    batch = made_batch(0, labels=PEOPLE)
    other = batch._replace(student=3 * turned(batch.student), teacher=turned(batch.teacher) / 2)
    expected = made_method(batch)(batch).loss.item()
    assert made_method(batch)(other).loss.item() == pytest.approx(expected, rel=1e-9)
    same = batch._replace(student=turned(batch.teacher))
    assert made_method(batch)(same).loss.item() == pytest.approx(0, abs=1e-18)


def test_batches_without_one_kind_of_pair() -> None:
    alone = made_batch(0, labels=(0, 0, 0, 0))
    method = made_method(alone)
    output = method(alone)
    assert torch.isfinite(output.loss)
    assert not method.started
    assert method.student_thresholds.abs().sum().item() == 0
    assert output.figures["negative_rank"] == (0, 0)
    batch = made_batch(0, labels=PEOPLE)
    method(batch)
    before = method.student_thresholds.clone()
    method(alone)
    assert torch.equal(before, method.student_thresholds)
    strangers = made_batch(0, labels=(0, 1, 2, 3))
    output = made_method(strangers)(strangers)
    assert output.figures["positive_rank"] == (0, 0)
    assert output.loss.item() == pytest.approx(SlowEkd().loss(strangers), rel=1e-9)
    one = made_batch(0, labels=(0,))
    assert made_method(one)(one).loss.item() == 0


def test_soft_counts_far_from_a_threshold_are_whole() -> None:
    thresholds = torch.tensor([0.5, -0.5])
    student = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    passed = thresholds_passed(student, thresholds, 0.001)
    assert passed.tolist() == pytest.approx([2, 1, 0], abs=1e-20)
    passed.sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_batch_that_is_not_finite_leaves_the_thresholds_alone() -> None:
    batch = made_batch(0, labels=PEOPLE)
    method = made_method(batch)
    method(batch)
    before = method.student_thresholds.clone()
    overflown = batch.student.detach().clone()
    overflown[0, 0] = torch.inf
    method(batch._replace(student=overflown))
    assert torch.equal(before, method.student_thresholds)
    assert torch.isfinite(method(batch).loss)
