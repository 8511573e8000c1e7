from __future__ import annotations

import pytest
import torch

from facedistill.distill import METHODS, MethodOptions
from facedistill.distill.method import DistillationBatch


def test_loss_by_hand_and_blind_to_length() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    teacher = torch.tensor([[1.0, 1.0], [0.0, 0.5]])
    output = METHODS["cosine"](MethodOptions())(DistillationBatch(student, teacher, torch.tensor([0, 1])))
    assert output.loss.item() == pytest.approx(1 - (0.5**0.5 + 1) / 2)
    longer = METHODS["cosine"](MethodOptions())(DistillationBatch(9 * student, 7 * teacher, torch.tensor([0, 1])))
    assert longer.loss.item() == pytest.approx(output.loss.item())
    total, weight = output.figures["cosine"]
    assert weight is not None
    assert (total / weight).item() == pytest.approx((0.5**0.5 + 1) / 2)
