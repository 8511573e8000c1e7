"""CurricularFace: ArcFace whose hard negatives weigh more as training goes on (Huang et al., CVPR 2020)."""

from __future__ import annotations

import torch

from facedistill.heads.arcface import ArcFace
from facedistill.heads.margin import HEADS, Margin
from facedistill.loss import Figure

# The values of the paper (arXiv 2004.00288). A new batch weighs 1 - alpha = 0.01 in the running t.
SCALE, MARGIN, RATE = 64.0, 0.5, 0.01


class CurricularFace(ArcFace):
    """Target logit s * cos(theta + m); a negative of cosine c above cos(theta + m) becomes c * (t + c).

    t is the running mean of the images' cosines with their own classes: about 0 at the start, which plays hard
    negatives down, and up to 1 later, which plays them up.

    Args:
        scale: s.
        margin: m, in radians.
        rate: the weight of a new batch in t.
    """

    has_statistics = True
    t: torch.Tensor

    def __init__(self, *, scale: float = SCALE, margin: float = MARGIN, rate: float = RATE) -> None:
        super().__init__(scale=scale, margin=margin)
        self.rate = rate
        self.register_buffer("t", torch.tensor(0.0))

    def update(self, cosine: torch.Tensor, norms: torch.Tensor) -> None:
        """Move t towards the mean of the cosines (N,) of all processes' images."""
        self.t.lerp_(cosine.mean(), self.rate)

    def others(self, cosine: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cosines (N, C) -> cosines, those above the target's (N,) multiplied by t + cosine."""
        return torch.where(cosine > target[:, None], cosine * (self.t + cosine), cosine)

    def figures(self, norms: torch.Tensor) -> dict[str, Figure]:
        """How far the curriculum is: t."""
        return {"curriculum_t": Figure(self.t.clone(), torch.ones_like(self.t))}


@HEADS.register(
    "curricularface",
    summary="angular margin, hard negatives weigh more with time, s 64, m 0.5",
    source="arXiv 2004.00288",
)
def curricularface(*, scale: float | None, margin: float | None) -> Margin:
    """CurricularFace with s = 64 and m = 0.5 unless told otherwise."""
    return CurricularFace(scale=SCALE if scale is None else scale, margin=MARGIN if margin is None else margin)
