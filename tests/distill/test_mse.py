from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from facedistill.distill.method import DistillationBatch
from facedistill.distill.mse import MseDistillation, MseOptions

from .made_batches import in_floats, made_batch, setting_of


def loss(batch: DistillationBatch, **options: Any) -> torch.Tensor:
    return MseDistillation(MseOptions(**options), setting_of(batch))(batch).loss


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("reduction", "divisor"), [("images", 10), ("half-images", 20), ("elements", 60)])
def test_loss_equals_a_slow_loop(reduction: str, divisor: int, normalised: bool) -> None:
    batch = made_batch(1, teacher_size=6)
    total = 0.0
    for s, t in zip(in_floats(batch.student), in_floats(batch.teacher), strict=True):
        lengths = (math.hypot(*s), math.hypot(*t)) if normalised else (1.0, 1.0)
        total += sum((a / lengths[0] - b / lengths[1]) ** 2 for a, b in zip(s, t, strict=True))
    found = loss(batch, reduction=reduction, normalised=normalised)
    assert found.item() == pytest.approx(total / divisor, rel=1e-12)


def test_the_recipes_of_public_code() -> None:
    batch = made_batch(2, teacher_size=6)
    student, teacher = (torch.nn.functional.normalize(side) for side in (batch.student, batch.teacher))
    pocketnet = 100 * torch.nn.functional.mse_loss(student, teacher)
    assert 100 * loss(batch, reduction="elements").item() == pytest.approx(pocketnet.item())
    gkd = (student - teacher).square().sum() / (2 * len(student))
    assert loss(batch, reduction="half-images").item() == pytest.approx(gkd.item())
    # Between unit vectors it is cosine distillation.
    cosine = 1 - torch.nn.functional.cosine_similarity(student, teacher).mean()
    assert gkd.item() == pytest.approx(cosine.item())


@pytest.mark.parametrize("normalised", [True, False])
def test_gradient_by_finite_differences(normalised: bool) -> None:
    batch = made_batch(0, teacher_size=6)
    assert torch.autograd.gradcheck(
        lambda student: loss(batch._replace(student=student), normalised=normalised), (batch.student,)
    )


def test_lengths_matter_only_to_the_raw_difference() -> None:
    batch = made_batch(0, teacher_size=6)
    longer = batch._replace(student=4 * batch.student)
    assert loss(longer).item() == pytest.approx(loss(batch).item())
    assert loss(longer, normalised=False).item() > 2 * loss(batch, normalised=False).item()


def test_a_wrong_reduction_is_refused() -> None:
    with pytest.raises(ValidationError, match="reduction"):
        MseOptions(reduction="sum")  # type: ignore[arg-type]
