"""The margin rule of a head: how hard an image's own class is made to win, whoever holds the class centres."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from facedistill.errors import UsageError
from facedistill.loss import Figure
from facedistill.registry import Registry

# sqrt(1 - cos^2) has no gradient at cos = +-1; this is the nearest float32 cosine at which it has a useful one.
EPSILON = 1e-6


def away_from_one(cosine: torch.Tensor) -> torch.Tensor:
    """Cosines of any shape, kept 1e-6 away from +-1, where the angle has a finite gradient."""
    return cosine.clamp(-1 + EPSILON, 1 - EPSILON)


def refuse_margin(head: str, margin: float | None, reason: str) -> None:
    """Raise UsageError where `margin` is given to a head that has not exactly one."""
    if margin is not None:
        raise UsageError(f"the head '{head}' takes no margin: {reason}", next_step="Leave --margin out")


class Margin(nn.Module):
    """A rule that turns cosines into logits; the class centres belong to the head that uses it.

    Everything is float32. A rule that keeps running statistics sees the cosines and norms of all processes' images,
    so that its state is the same in every process, and the one that a single process with the whole batch would have.

    Args:
        scale: s, what the cosines are multiplied by to become logits.

    Attributes:
        normalised: True for cosines; False for plain inner products with the class centres.
        centres_per_identity: how many centres each class has; the nearest of them counts.
        has_statistics: whether `update` has to be told of every training batch.
    """

    normalised = True
    centres_per_identity = 1
    has_statistics = False

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def similarities(self, embeddings: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D), centres (C * centres_per_identity, D), float32 -> cosines (N, C), without the margin.

        The centres of a class lie next to one another. Inner products where the rule is not normalised.
        """
        if self.normalised:
            similarities = functional.linear(functional.normalize(embeddings), functional.normalize(centres))
        else:
            similarities = functional.linear(embeddings, centres)
        if self.centres_per_identity == 1:
            return similarities
        return similarities.view(len(embeddings), -1, self.centres_per_identity).max(dim=2).values

    def update(self, cosine: torch.Tensor, norms: torch.Tensor) -> None:
        """Take in a training batch, before its margins are computed.

        Args:
            cosine: (N,) each image's cosine with its own class, over the images of all processes, without gradient.
            norms: (N,) lengths of the same embeddings, without gradient.
        """

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) with the own class and norms (N,) of the embeddings -> what takes the cosines' place (N,)."""
        raise NotImplementedError

    def others(self, cosine: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cosines (N, C) -> what takes their place for classes that are not the image's own.

        Args:
            cosine: (N, C); what is returned in the column of the own class is not used.
            target: (N,) the own class's cosine after the margin, without gradient.
        """
        return cosine

    def penalty(self, norms: torch.Tensor) -> torch.Tensor | None:
        """Norms (N,) -> a 0-d term that is added to the mean loss; None for no such term."""
        return None

    def figures(self, norms: torch.Tensor) -> dict[str, Figure]:
        """What the rule logs beside the accuracy, given the norms (N,) of the embeddings that the loss is about."""
        return {}


def mean_norm(norms: torch.Tensor) -> dict[str, Figure]:
    """The figure `embedding_norm`: the mean of norms (N,)."""
    norms = norms.detach()
    return {"embedding_norm": Figure(norms.sum(), torch.full_like(norms[0], len(norms)))}


class MarginFactory(Protocol):
    """Builds a margin rule; None takes the published scale and margin."""

    def __call__(self, *, scale: float | None, margin: float | None) -> Margin:
        """A fresh rule; raises UsageError for a margin where the rule has not exactly one."""
        ...


HEADS: Registry[MarginFactory] = Registry("head")
