"""ArcFace: an additive angular margin (Deng et al., CVPR 2019, arXiv 1801.07698)."""

from __future__ import annotations

import math

import torch

from facedistill.heads.margin_head import HEADS, MarginHead

# sqrt(1 - cos^2) has no gradient at cos = +-1; this is the nearest float32 cosine at which it has a useful one.
EPSILON = 1e-6


class ArcFace(MarginHead):
    """Target logit s * cos(theta + m) (equation 3 of the paper).

    cos(theta + m) is expanded to cos(theta) cos(m) - sin(theta) sin(m), which needs no arccos; the cosine is kept
    1e-6 away from +-1 so that the gradient stays finite there.
    """

    def target_cosine(self, cosine: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) -> cos(theta + m) (N,)."""
        cosine = cosine.clamp(-1 + EPSILON, 1 - EPSILON)
        sine = torch.sqrt(1 - cosine.square())
        return cosine * math.cos(self.margin) - sine * math.sin(self.margin)


@HEADS.register("arcface", summary="angular margin: s * cos(theta + m), s 64, m 0.5", source="arXiv 1801.07698")
def arcface(embedding_size: int, identities: int, *, scale: float | None, margin: float | None) -> MarginHead:
    """ArcFace with s = 64 and m = 0.5 unless told otherwise."""
    return ArcFace(
        embedding_size,
        identities,
        scale=64.0 if scale is None else scale,
        margin=0.5 if margin is None else margin,
    )
