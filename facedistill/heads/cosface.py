"""CosFace: an additive cosine margin (Wang et al., CVPR 2018, arXiv 1801.09414)."""

from __future__ import annotations

import torch

from facedistill.heads.margin import HEADS, Margin

# The values of the paper.
SCALE, MARGIN = 64.0, 0.35


class CosFace(Margin):
    """Target logit s * (cos(theta) - m) (equation 4 of the paper).

    Args:
        scale: s.
        margin: m, in cosine.
    """

    def __init__(self, *, scale: float = SCALE, margin: float = MARGIN) -> None:
        super().__init__(scale=scale)
        self.margin = margin

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) -> cos(theta) - m (N,)."""
        return cosine - self.margin


@HEADS.register("cosface", summary="cosine margin: s * (cos(theta) - m), s 64, m 0.35", source="arXiv 1801.09414")
def cosface(*, scale: float | None, margin: float | None) -> Margin:
    """CosFace with s = 64 and m = 0.35 unless told otherwise."""
    return CosFace(scale=SCALE if scale is None else scale, margin=MARGIN if margin is None else margin)
