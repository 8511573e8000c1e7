"""CosFace: an additive cosine margin (Wang et al., CVPR 2018, arXiv 1801.09414)."""

from __future__ import annotations

import torch

from facedistill.heads.margin_head import HEADS, MarginHead


class CosFace(MarginHead):
    """Target logit s * (cos(theta) - m) (equation 4 of the paper)."""

    def target_cosine(self, cosine: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) -> cos(theta) - m (N,)."""
        return cosine - self.margin


@HEADS.register("cosface", summary="cosine margin: s * (cos(theta) - m), s 64, m 0.35", source="arXiv 1801.09414")
def cosface(embedding_size: int, identities: int, *, scale: float | None, margin: float | None) -> MarginHead:
    """CosFace with s = 64 and m = 0.35 unless told otherwise."""
    return CosFace(
        embedding_size,
        identities,
        scale=64.0 if scale is None else scale,
        margin=0.35 if margin is None else margin,
    )
