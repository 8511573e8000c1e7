"""The distributed softmax in one process against torch's; test_two_processes.py has it in two."""

from __future__ import annotations

import torch
from torch.nn import functional

from facedistill.heads.sharded_cross_entropy import sharded_cross_entropy


def test_it_equals_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = (torch.randn(6, 9) * 64).requires_grad_(), torch.randint(0, 9, (6,))
    other = logits.detach().clone().requires_grad_()
    loss = sharded_cross_entropy(logits, labels, torch.ones(6, dtype=torch.bool))
    expected = functional.cross_entropy(other, labels)
    (2 * loss).backward()
    (2 * expected).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits.grad, other.grad, atol=1e-7, rtol=1e-6)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e30, 1e30]], requires_grad=True)
    loss = sharded_cross_entropy(logits, torch.tensor([1, 1]), torch.tensor([True, True]))
    loss.backward()
    assert float(loss.detach()) == 1e4
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5, -0.5], [0.0, 0.0]]
