"""Triplet distillation against loops over triplets written out by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.distill import METHODS, MethodOptions
from facedistill.distill.distance import pairwise_distance
from facedistill.distill.method import DistillationBatch
from facedistill.distill.mining import mine_semi_hard
from facedistill.distill.triplet import TripletLoss, adaptive_margins, triplet_loss
from facedistill.errors import UsageError


def unit(rows: list[list[float]]) -> list[list[float]]:
    return [[value / math.sqrt(sum(v * v for v in row)) for value in row] for row in rows]


def slow_distance(a: list[float], b: list[float], kind: str) -> float:
    if kind == "angle":
        return math.acos(max(-1.0, min(1.0, sum(x * y for x, y in zip(a, b, strict=True)))))
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def slow_loss(
    student: torch.Tensor, teacher: torch.Tensor, triplets: list[tuple[int, int, int]], kind: str
) -> tuple[float, list[float]]:
    """The formulas of the paper, one triplet after the other, m_min 0.2 and m_max 0.5."""
    s, t = unit(student.tolist()), unit(teacher.tolist())
    gaps = [max(slow_distance(t[a], t[n], kind) - slow_distance(t[a], t[p], kind), 0.0) for a, p, n in triplets]
    largest = max(gaps)
    margins = [0.2 if largest == 0 else (0.5 - 0.2) / largest * gap + 0.2 for gap in gaps]
    losses = [
        max(slow_distance(s[a], s[p], kind) - slow_distance(s[a], s[n], kind) + margin, 0.0)
        for (a, p, n), margin in zip(triplets, margins, strict=True)
    ]
    return sum(losses) / len(losses), margins


@pytest.mark.parametrize("kind", ["squared-l2", "angle"])
@pytest.mark.parametrize("seed", range(5))
def test_loss_and_margins_equal_a_slow_loop(kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(10, 6, generator=generator, dtype=torch.float64)
    teacher = torch.randn(10, 9, generator=generator, dtype=torch.float64) * 7
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3, 4])
    torch.manual_seed(seed)
    output = TripletLoss((0.2, 0.5), distance=kind)(DistillationBatch(student, teacher, labels))
    torch.manual_seed(seed)
    mined = mine_semi_hard(pairwise_distance(student, kind), labels)  # type: ignore[arg-type]
    triplets = [
        (int(a), int(p), int(n)) for a, p, n, valid in zip(*(column.tolist() for column in mined), strict=True) if valid
    ]
    assert len(triplets) > 5
    expected, margins = slow_loss(student, teacher, triplets, kind)
    # The cosine is kept 1e-6 from +-1 in angles, which shows in the last digits.
    assert output.loss.item() == pytest.approx(expected, rel=1e-6)
    assert output.figures["triplets"].total.item() == len(triplets)
    total, weight = output.figures["margin"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx(sum(margins) / len(margins), rel=1e-6)


def test_margins_by_hand() -> None:
    gap = torch.tensor([0.0, 1.0, 2.0, -3.0, 99.0])
    valid = torch.tensor([True, True, True, True, False])
    # d_max is 2: the 99 is no triplet. The teacher has the fourth one wrong, so it gets the lowest margin.
    margins = adaptive_margins(gap, valid, margin_min=0.2, margin_max=0.5)
    assert margins[:4].tolist() == pytest.approx([0.2, 0.35, 0.5, 0.2])


def test_margins_where_the_teacher_sees_no_gap() -> None:
    margins = adaptive_margins(torch.tensor([0.0, -1.0]), torch.tensor([True, True]))
    assert margins.tolist() == pytest.approx([0.2, 0.2])


def test_a_teacher_without_a_gap_gives_the_fixed_margin_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(8, 4, generator=generator)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    same = torch.ones(8, 5)
    torch.manual_seed(0)
    distilled = TripletLoss((0.2, 0.5))(DistillationBatch(student, same, labels))
    torch.manual_seed(0)
    fixed = TripletLoss((0.2, 0.2), adaptive=False)(DistillationBatch(student, same, labels))
    assert torch.isfinite(distilled.loss)
    assert distilled.loss.item() == pytest.approx(fixed.loss.item())


@given(
    gaps=st.lists(st.floats(-4, 4), min_size=1, max_size=20),
    low=st.floats(0, 1),
    width=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_margins_stay_in_their_range_and_grow_with_the_gap(gaps: list[float], low: float, width: float) -> None:
    gap = torch.tensor(gaps, dtype=torch.float64)
    margins = adaptive_margins(gap, torch.ones(len(gaps), dtype=torch.bool), margin_min=low, margin_max=low + width)
    assert (margins >= low - 1e-9).all()
    assert (margins <= low + width + 1e-9).all()
    assert (margins[gap.argsort()].diff() >= -1e-9).all()


def test_gradient_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    # A band without an end keeps the choice of triplets from changing under a small step.
    loss_of = TripletLoss((0.2, 0.5), alpha=100.0)

    def loss(embeddings: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return loss_of(DistillationBatch(embeddings, teacher, labels)).loss

    assert loss(student).item() > 0
    assert torch.autograd.gradcheck(loss, (student,), eps=1e-6, atol=1e-7)


def test_no_gradient_flows_through_the_margin() -> None:
    teacher = torch.randn(6, 4, requires_grad=True)
    student = torch.randn(6, 4, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    TripletLoss((0.2, 0.5), alpha=100.0)(DistillationBatch(student, teacher, labels)).loss.backward()
    assert student.grad is not None
    assert teacher.grad is None
    assert not adaptive_margins(torch.rand(3, requires_grad=True), torch.ones(3, dtype=torch.bool)).requires_grad


def test_a_batch_without_triplets_costs_nothing() -> None:
    student = torch.randn(4, 3, requires_grad=True)
    output = TripletLoss((0.2, 0.5))(DistillationBatch(student, torch.randn(4, 3), torch.arange(4)))
    output.loss.backward()
    assert output.loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().sum().item() == 0
    assert output.figures["triplets"].total.item() == 0


def test_identical_embeddings_have_finite_gradients() -> None:
    for kind in ("squared-l2", "angle"):
        student = torch.ones(6, 4, requires_grad=True)
        labels = torch.tensor([0, 0, 0, 1, 1, 1])
        TripletLoss((0.2, 0.5), distance=kind)(DistillationBatch(student, torch.randn(6, 4), labels)).loss.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_loss_is_float32_in_half_precision() -> None:
    student = torch.randn(6, 4).half()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    output = TripletLoss((0.2, 0.5), alpha=4.0)(DistillationBatch(student, torch.randn(6, 4), labels))
    assert output.loss.dtype == torch.float32


def test_triplet_loss_by_hand() -> None:
    gap = torch.tensor([0.5, 0.1, -0.2, -9.0])
    margin = torch.tensor([0.3, 0.3, 0.4, 0.3])
    valid = torch.tensor([True, True, True, False])
    assert triplet_loss(gap, margin, valid).item() == pytest.approx((0 + 0.2 + 0.6) / 3)


def test_mined_triplets_are_semi_hard_and_complete() -> None:
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(30, 3, generator=generator)
    labels = torch.randint(0, 6, (30,), generator=generator)
    distance = pairwise_distance(embeddings)
    triplets = mine_semi_hard(distance, labels, alpha=0.35, generator=generator)
    found = {}
    for a, p, n, valid in zip(*(column.tolist() for column in triplets), strict=True):
        if valid:
            assert a != p
            assert labels[a] == labels[p] != labels[n]
            assert distance[a, p] < distance[a, n] < distance[a, p] + 0.35
            assert (a, p) not in found
            found[a, p] = n
    expected = {
        (a, p)
        for a, p in itertools.permutations(range(30), 2)
        if labels[a] == labels[p]
        and any(labels[n] != labels[a] and distance[a, p] < distance[a, n] < distance[a, p] + 0.35 for n in range(30))
    }
    assert set(found) == expected


def test_every_semi_hard_negative_is_chosen_equally_often() -> None:
    # Anchor 0 and positive 1 coincide; negatives 2, 3 and 4 lie at 0.1, 0.2 and 0.3, number 5 out of the band.
    distance = torch.zeros(6, 6)
    distance[0, 2:] = torch.tensor([0.1, 0.2, 0.3, 0.9])
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    generator = torch.Generator().manual_seed(0)
    chosen = [int(mine_semi_hard(distance, labels, generator=generator).negative[0]) for _ in range(900)]
    counts = [chosen.count(image) for image in range(6)]
    assert counts[0] == counts[1] == counts[5] == 0
    assert all(250 < count < 350 for count in counts[2:5])


def test_distances_obey_the_identity() -> None:
    embeddings = torch.randn(7, 5, dtype=torch.float64)
    squared = pairwise_distance(embeddings)
    angle = pairwise_distance(embeddings, "angle")
    off_diagonal = ~torch.eye(7, dtype=torch.bool)
    assert torch.allclose(squared[off_diagonal], (2 - 2 * torch.cos(angle))[off_diagonal], atol=1e-9)
    assert squared.diagonal().abs().max() < 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (MethodOptions(margin_min=0.6, margin_max=0.5), "the margins are 0.6 and 0.5"),
        (MethodOptions(alpha=0), "alpha is 0"),
        (MethodOptions(distance="manhattan"), "the distance is 'manhattan'"),
    ],
)
def test_wrong_options_are_refused(options: MethodOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        METHODS["triplet-distillation"](options)


def test_equal_margins_are_still_triplet_distillation() -> None:
    assert METHODS["triplet-distillation"](MethodOptions(margin_min=0.3, margin_max=0.3)).needs.teacher
    assert not METHODS["triplet"](MethodOptions()).needs.teacher


@pytest.mark.cuda
def test_cuda_gives_the_cpu_loss() -> None:
    student, teacher = torch.randn(12, 8), torch.randn(12, 8)
    labels = torch.arange(12) // 3
    # One semi-hard negative a pair leaves the generators, which differ between devices, nothing to choose.
    for kind in ("squared-l2", "angle"):
        distance = pairwise_distance(student, kind)  # type: ignore[arg-type]
        on_device = pairwise_distance(student.cuda(), kind).cpu()  # type: ignore[arg-type]
        assert torch.allclose(distance, on_device, atol=1e-5)
    gap = torch.randn(20)
    valid = torch.rand(20) > 0.3
    expected = adaptive_margins(gap, valid)
    assert torch.allclose(expected, adaptive_margins(gap.cuda(), valid.cuda()).cpu(), atol=1e-6)
    output = TripletLoss((0.2, 0.5))(DistillationBatch(student.cuda(), teacher.cuda(), labels.cuda()))
    assert torch.isfinite(output.loss)
