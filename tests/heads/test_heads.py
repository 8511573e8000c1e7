"""Margin heads against the formulas, written out for one image and one class at a time."""

from __future__ import annotations

import math

import pytest
import torch

from facedistill.errors import UsageError
from facedistill.heads import HEADS


def direct_logits(
    name: str, embeddings: torch.Tensor, centres: torch.Tensor, labels: torch.Tensor
) -> list[list[float]]:
    scale, margin = 64.0, {"arcface": 0.5, "cosface": 0.35}[name]
    rows = []
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        row = []
        for number, centre in enumerate(centres.tolist()):
            dot = sum(a * b for a, b in zip(embedding, centre, strict=True))
            cosine = dot / math.hypot(*embedding) / math.hypot(*centre)
            if number == label:
                cosine = math.cos(math.acos(cosine) + margin) if name == "arcface" else cosine - margin
            row.append(scale * cosine)
        rows.append(row)
    return rows


@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_logits_equal_the_formula(name: str) -> None:
    torch.manual_seed(0)
    head = HEADS[name](5, 7, scale=None, margin=None)
    embeddings, labels = torch.randn(9, 5) * 3, torch.randint(0, 7, (9,))
    expected = torch.tensor(direct_logits(name, embeddings, head.centres.detach(), labels))
    assert torch.allclose(head(embeddings, labels), expected, atol=1e-3)


@pytest.mark.parametrize("name", [entry.name for entry in HEADS])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_where_the_cosine_is_one(name: str, sign: float) -> None:
    head = HEADS[name](3, 2, scale=None, margin=None)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    embeddings = torch.tensor([[sign * 2.0, 0.0, 0.0]], requires_grad=True)
    loss = torch.nn.functional.cross_entropy(head(embeddings, torch.tensor([0])), torch.tensor([0]))
    loss.backward()
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
    assert head.centres.grad is not None
    assert torch.isfinite(head.centres.grad).all()


@pytest.mark.parametrize("name", [entry.name for entry in HEADS])
def test_half_precision_embeddings_give_float32_logits(name: str) -> None:
    head = HEADS[name](4, 3, scale=None, margin=None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(torch.randn(5, 4).bfloat16(), torch.tensor([0, 1, 2, 0, 1]))
    assert logits.dtype == torch.float32


def test_scale_and_margin_can_be_chosen() -> None:
    head = HEADS["cosface"](4, 3, scale=32.0, margin=0.2)
    assert (head.scale, head.margin) == (32.0, 0.2)
    published = HEADS["arcface"](4, 3, scale=None, margin=None)
    assert (published.scale, published.margin) == (64.0, 0.5)


def test_an_unknown_head_is_suggested() -> None:
    with pytest.raises(UsageError, match="Did you mean 'arcface'"):
        HEADS["arcfase"]
