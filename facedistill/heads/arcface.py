"""ArcFace: an additive angular margin (Deng et al., CVPR 2019, arXiv 1801.07698)."""

from __future__ import annotations

import math

import torch

from facedistill.heads.margin import HEADS, Margin, away_from_one

# The values of the paper.
SCALE, MARGIN = 64.0, 0.5


class ArcFace(Margin):
    """Target logit s * cos(theta + m) (equation 3 of the paper).

    cos(theta + m) is expanded to cos(theta) cos(m) - sin(theta) sin(m), which needs no arccos; the cosine is kept
    1e-6 away from +-1 so that the gradient stays finite there.

    Args:
        scale: s.
        margin: m, in radians.
    """

    def __init__(self, *, scale: float = SCALE, margin: float = MARGIN) -> None:
        super().__init__(scale=scale)
        self.margin = margin

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) -> cos(theta + m) (N,)."""
        cosine = away_from_one(cosine)
        sine = torch.sqrt(1 - cosine.square())
        return cosine * math.cos(self.margin) - sine * math.sin(self.margin)


@HEADS.register("arcface", summary="angular margin: s * cos(theta + m), s 64, m 0.5", source="arXiv 1801.07698")
def arcface(*, scale: float | None, margin: float | None) -> Margin:
    """ArcFace with s = 64 and m = 0.5 unless told otherwise."""
    return ArcFace(scale=SCALE if scale is None else scale, margin=MARGIN if margin is None else margin)
