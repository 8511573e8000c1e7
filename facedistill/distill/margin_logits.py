"""Logits of embeddings against class centres that need no head of their own: a teacher's, or running ones."""

from __future__ import annotations

from typing import Literal

import torch

from facedistill.heads import HEADS, Margin
from facedistill.loss import Figure

MarginForm = Literal["arcface", "cosface"]


def margin_rule(head: MarginForm, scale: float, margin: float) -> Margin:
    """The rule of ArcFace or CosFace, which are the ones without running statistics and with one margin."""
    return HEADS[head](scale=scale, margin=margin)


def own_cosine(cosine: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cosines (B, C) and labels (B,) -> the cosine of each image with its own class (B,)."""
    return cosine.gather(1, labels[:, None]).squeeze(1)


def replace_own(cosine: torch.Tensor, labels: torch.Tensor, target: torch.Tensor, scale: float) -> torch.Tensor:
    """Cosines (B, C) with `target` (B,) in the place of the own class, times the scale: logits (B, C).

    Makes one (B, C) tensor and keeps none for the backward pass.
    """
    return (scale * cosine).scatter_(1, labels[:, None], scale * target[:, None])


def margin_logits(cosine: torch.Tensor, labels: torch.Tensor, rule: Margin) -> torch.Tensor:
    """Cosines (B, C) -> logits (B, C) under a rule that looks at cosines alone."""
    own = own_cosine(cosine, labels)
    return replace_own(cosine, labels, rule.target(own, own), rule.scale)


def accuracy(cosine: torch.Tensor, labels: torch.Tensor) -> Figure:
    """The share of images whose own class is the nearest, without the margin, which only training has."""
    correct = (cosine.detach().argmax(dim=1) == labels).sum()
    return Figure(correct, torch.full_like(correct, len(labels)))
