from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facedistill.distill.method import DistillationBatch, Setting
from facedistill.distill.similarity_distribution import (
    SimilarityDistribution,
    SimilarityDistributionOptions,
    choose_anchors,
)
from facedistill.embedders.cached_rows import CachedRows
from facedistill.errors import UsageError

SIZE = 5


def made_rows(count: int = 7, seed: int = 0) -> CachedRows:
    original, mirrored = np.random.default_rng(seed).normal(size=(2, count, SIZE)).astype(np.float32)
    return CachedRows.in_memory(3 * original, mirrored)


def made_method(rows: CachedRows, **options: float) -> SimilarityDistribution:
    return SimilarityDistribution(SimilarityDistributionOptions(**options), Setting(SIZE, SIZE, 3, rows=rows))


def slow_unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in row))
    return [value / length for value in row]


def slow_distribution(row: list[float], anchors: list[list[float]], scale: float) -> list[float]:
    exponents = [
        math.exp(scale * sum(a * b for a, b in zip(slow_unit(row), anchor, strict=True))) for anchor in anchors
    ]
    return [value / sum(exponents) for value in exponents]


def slow_loss(student: list[list[float]], teacher: list[list[float]], rows: CachedRows, scale: float) -> float:
    original, mirrored = (part.astype(np.float64).tolist() for part in rows.all())
    anchors = [
        slow_unit([a + b for a, b in zip(slow_unit(one), slow_unit(other), strict=True)])
        for one, other in zip(original, mirrored, strict=True)
    ]
    losses = []
    for s, t in zip(student, teacher, strict=True):
        p, q = slow_distribution(t, anchors, scale), slow_distribution(s, anchors, scale)
        losses.append(sum(pa * math.log(pa / qa) for pa, qa in zip(p, q, strict=True)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [1.0, 24.0])
def test_loss_equals_a_slow_loop(scale: float) -> None:
    rows, method = made_rows(), made_method(made_rows(), scale=scale)
    student, teacher = torch.randn(2, 4, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = method(DistillationBatch(student, teacher, torch.arange(4))).loss
    assert loss.item() == pytest.approx(slow_loss(student.tolist(), teacher.tolist(), rows, scale), rel=1e-5)


def test_the_loss_is_zero_at_the_teacher_alone_and_blind_to_length() -> None:
    method = made_method(made_rows())
    teacher = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(1))
    batch = DistillationBatch(9 * teacher, teacher, torch.arange(4))
    output = method(batch)
    assert output.loss.item() == pytest.approx(0, abs=1e-5)
    total, weight = output.figures["cosine"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx(1)
    assert method(batch._replace(student=teacher.flip(0))).loss.item() > 1


def test_gradient_by_finite_differences() -> None:
    method = made_method(made_rows(), scale=4)
    student, teacher = torch.randn(2, 3, SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def loss(embeddings: torch.Tensor) -> torch.Tensor:
        return method(DistillationBatch(embeddings, teacher, torch.arange(3))).loss

    assert torch.autograd.gradcheck(loss, (student.requires_grad_(),), eps=1e-6, atol=1e-7)


def test_of_many_images_a_part_serves_as_anchors_always_the_same() -> None:
    rows = made_rows(100)
    whole, part = choose_anchors(rows, 100), choose_anchors(rows, 30)
    assert whole.shape == (100, SIZE)
    assert part.shape == (30, SIZE)
    torch.testing.assert_close(part, choose_anchors(rows, 30))
    assert all((whole - anchor).abs().sum(dim=1).min() < 1e-6 for anchor in part)


def test_only_the_chosen_rows_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them would be 24 GB for 5.8 million images."""
    rows = made_rows(100)
    whole = choose_anchors(rows, 100)
    for name in ("all", "pieces"):
        monkeypatch.setattr(CachedRows, name, None)
    torch.testing.assert_close(choose_anchors(rows, 100), whole)


def test_images_without_an_embedding_are_no_anchors() -> None:
    original, mirrored = np.random.default_rng(0).normal(size=(2, 6, SIZE)).astype(np.float32)
    original[2] = mirrored[2] = np.nan
    anchors = choose_anchors(CachedRows.in_memory(original, mirrored), 6)
    assert anchors.shape == (5, SIZE)
    assert torch.isfinite(anchors).all()


def test_anchors_are_not_saved() -> None:
    assert not made_method(made_rows()).state_dict()


def test_sizes_have_to_be_equal() -> None:
    with pytest.raises(UsageError, match="similarity-distribution compares embeddings directly"):
        SimilarityDistribution(SimilarityDistributionOptions(), Setting(4, SIZE, 3, rows=made_rows()))
