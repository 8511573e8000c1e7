"""Distances between embeddings: squared Euclidean between unit vectors, or the angle."""

from __future__ import annotations

from typing import Literal

import torch

from facedistill.distill.similarity import pairwise_cosines

DistanceKind = Literal["squared-l2", "angle"]

# arccos has no gradient at cos = +-1; this is the nearest float32 cosine at which it has a useful one.
ANGLE_EPSILON = 1e-6


def pairwise_distance(embeddings: torch.Tensor, kind: DistanceKind = "squared-l2") -> torch.Tensor:
    """Distances between all embeddings of a batch, computed in float32 whatever the autocast says.

    Args:
        embeddings: (B, D), of any scale; normalised here. A row of zeros is as far from every other as one at a right
            angle to it.
        kind: "squared-l2" for |a - b|^2 = 2 - 2 cos between unit vectors, in 0..4; "angle" for arccos(cos) in
            radians, in 0..pi.

    Returns:
        (B, B) float32 (float64 for float64 embeddings), symmetric.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        cosine = pairwise_cosines(embeddings)
        if kind == "angle":
            return torch.arccos(cosine.clamp(-1 + ANGLE_EPSILON, 1 - ANGLE_EPSILON))
        return (2 - 2 * cosine).clamp(min=0)
