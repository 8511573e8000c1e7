"""The hinge loss over blocks of triplets, by hand and against a graph of every triplet."""

from __future__ import annotations

import pytest
import torch

from facedistill.distill import mining
from facedistill.distill.distance import pairwise_distance
from facedistill.distill.hinge import MarginRange, hinge_loss, largest_gap
from facedistill.distill.mining import Block, blocks_of_all, blocks_of_drawn, draw_triplets, positive_pairs

# Anchor 0 with positive 1 at 0.4 and negatives 2, 3 and 4 at 0.9, 0.5 and 0.2: gaps 0.5, 0.1 and -0.2.
DISTANCE = torch.zeros(5, 5)
DISTANCE[0] = torch.tensor([0.0, 0.4, 0.9, 0.5, 0.2])
GAPS = Block(slice(0, 1), torch.tensor([[1]]), None, torch.tensor([[[False, False, True, True, True]]]))


@pytest.mark.parametrize(("active_only", "count"), [(False, 3), (True, 2)])
def test_loss_gradient_and_figures_by_hand(active_only: bool, count: int) -> None:
    distance = DISTANCE.clone().requires_grad_()
    margins = torch.tensor([[[9.0, 9.0, 0.3, 0.3, 0.4]]])
    output = hinge_loss([GAPS], distance, lambda gap: margins, active_only=active_only, bins=MarginRange(0.3, 0.4))
    assert output.loss.item() == pytest.approx((0 + 0.2 + 0.6) / count)
    output.loss.backward()
    assert distance.grad is not None
    expected = torch.zeros(5, 5)
    expected[0] = torch.tensor([0.0, 2.0, 0.0, -1.0, -1.0]) / count
    assert torch.allclose(distance.grad, expected)
    figures = {
        name: total.item() if weight is None else (total / weight).item()
        for name, (total, weight) in output.figures.items()
    }
    assert figures == pytest.approx(
        {
            "triplets": 3,
            "active": 2 / 3,
            "margin": 1 / 3,
            "positive_distance": 0.4,
            "negative_distance": 1.6 / 3,
            "margin_1of5": 2 / 3,
            "margin_2of5": 0,
            "margin_3of5": 0,
            "margin_4of5": 0,
            "margin_5of5": 1 / 3,
        },
        abs=1e-6,
    )


def test_margins_are_counted_in_the_fifth_they_lie_in() -> None:
    margins = torch.tensor([[[9.0, 9.0, 0.25, 0.5, 0.95]]])
    figures = hinge_loss([GAPS], DISTANCE, lambda gap: margins, bins=MarginRange(0.0, 1.0)).figures
    assert [figures[f"margin_{number}of5"].total.item() for number in range(1, 6)] == [0, 1, 1, 0, 1]


def test_margins_of_no_width_are_all_in_the_last_fifth() -> None:
    figures = hinge_loss([GAPS], DISTANCE, 0.3, bins=MarginRange(0.3, 0.3)).figures
    assert [figures[f"margin_{number}of5"].total.item() for number in range(1, 6)] == [0, 0, 0, 0, 3]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_value_and_gradient_are_those_of_a_graph_of_every_triplet(
    every: bool, squared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "_TOGETHER", 150)
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 14, 6, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5])
    pairs = positive_pairs(labels)
    student.requires_grad_()
    distance, by_teacher = pairwise_distance(student), pairwise_distance(teacher)
    drawn = draw_triplets("semi-hard", distance, labels, pairs, alpha=2.0)
    blocks = list(blocks_of_all(distance, labels, pairs) if every else blocks_of_drawn(drawn))
    assert len(blocks) > 1 or not every
    output = hinge_loss(blocks, distance, lambda gap: 0.2 + 0.1 * gap, teacher_distance=by_teacher, squared=squared)
    losses, gaps = [], []
    for block in blocks:
        for row, slot, place in block.valid.nonzero().tolist():
            a, p = block.anchors.start + row, block.positive[row, slot]
            n = place if block.negative is None else block.negative[row, slot]
            gaps.append(by_teacher[a, n] - by_teacher[a, p])
            losses.append(
                (distance[a, p] - distance[a, n] + 0.2 + 0.1 * gaps[-1]).clamp(min=0) ** (2 if squared else 1)
            )
    expected = torch.stack(losses).mean()
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    (found,) = torch.autograd.grad(output.loss, student, retain_graph=True)
    (gradient,) = torch.autograd.grad(expected, student)
    assert torch.allclose(found, gradient, atol=1e-12)
    assert largest_gap(blocks, by_teacher).item() == pytest.approx(max(gaps).item())
    total, weight = output.figures["teacher_gap"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx(torch.stack(gaps).mean().item())


def test_the_largest_gap_is_never_below_zero() -> None:
    distance = DISTANCE.clone()
    distance[0, 1] = 3.0
    assert largest_gap([GAPS], distance).item() == 0
