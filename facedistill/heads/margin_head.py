"""Margin heads: class centres on the unit sphere, and the margin that the target class must win by."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from facedistill.registry import Registry


class MarginHead(nn.Module):
    """Cosines between embeddings and class centres, with a margin on the target's, times a scale.

    Computed in float32 whatever the autocast says, since half precision cannot tell cosines near 1 apart.

    Args:
        embedding_size: D.
        identities: C, the number of classes.
        scale: s, the radius that the logits are stretched to.
        margin: m, in radians or in cosine, as the sub-class says.
    """

    def __init__(self, embedding_size: int, identities: int, *, scale: float, margin: float) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.centres = nn.Parameter(torch.empty(identities, embedding_size))
        nn.init.normal_(self.centres, std=0.01)

    def target_cosine(self, cosine: torch.Tensor) -> torch.Tensor:
        """The target class's cosine (N,) in [-1, 1] with the margin applied."""
        raise NotImplementedError

    def cosine(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) -> cosines (N, C) float32 to the class centres."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return functional.linear(functional.normalize(embeddings.float()), functional.normalize(self.centres))

    def logits(self, cosine: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cosines (N, C), labels (N,) int64 -> logits (N, C) float32, ready for cross-entropy."""
        target = cosine.gather(1, labels[:, None]).squeeze(1)
        return self.scale * cosine.scatter(1, labels[:, None], self.target_cosine(target)[:, None])

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D), labels (N,) int64 -> logits (N, C) float32."""
        return self.logits(self.cosine(embeddings), labels)


class HeadFactory(Protocol):
    """Builds a head for `identities` classes; None takes the published scale and margin."""

    def __call__(
        self, embedding_size: int, identities: int, *, scale: float | None, margin: float | None
    ) -> MarginHead:
        """A freshly initialised head."""
        ...


HEADS: Registry[HeadFactory] = Registry("head")
