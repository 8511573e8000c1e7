"""MagFace: an angular margin that grows with the embedding's norm (Meng et al., CVPR 2021, arXiv 2103.06627)."""

from __future__ import annotations

import torch

from facedistill.heads.margin import HEADS, Margin, away_from_one, mean_norm, refuse_margin
from facedistill.loss import Figure

# The values of the paper: norms from l_a to u_a get margins from l_m to u_m; lambda_g weighs the regulariser.
SCALE = 64.0
SMALLEST_NORM, LARGEST_NORM = 10.0, 110.0
SMALLEST_MARGIN, LARGEST_MARGIN = 0.45, 0.8
PENALTY_WEIGHT = 35.0


class MagFace(Margin):
    """Target logit s * cos(theta + m(a)) for norm a, plus lambda_g * (1 / a + a / u_a^2).

    m(a) is linear from l_m at l_a to u_m at u_a. Norms are clipped to [l_a, u_a], and beyond these bounds nothing
    pulls them back, as in the authors' code: embeddings have to start within, as those of batch-normed networks of
    100 dimensions or more do.

    Args:
        scale: s.
        penalty_weight: lambda_g.
    """

    def __init__(self, *, scale: float = SCALE, penalty_weight: float = PENALTY_WEIGHT) -> None:
        super().__init__(scale=scale)
        self.penalty_weight = penalty_weight

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,), norms (N,) -> cos(theta + m(a)) (N,); the gradient reaches the norms too."""
        slope = (LARGEST_MARGIN - SMALLEST_MARGIN) / (LARGEST_NORM - SMALLEST_NORM)
        margin = SMALLEST_MARGIN + slope * (norms.clamp(SMALLEST_NORM, LARGEST_NORM) - SMALLEST_NORM)
        cosine = away_from_one(cosine)
        return cosine * margin.cos() - torch.sqrt(1 - cosine.square()) * margin.sin()

    def penalty(self, norms: torch.Tensor) -> torch.Tensor:
        """Norms (N,) -> the mean of lambda_g * (1 / a + a / u_a^2), which falls up to a = u_a."""
        norms = norms.clamp(SMALLEST_NORM, LARGEST_NORM)
        return self.penalty_weight * (1 / norms + norms / LARGEST_NORM**2).mean()

    def figures(self, norms: torch.Tensor) -> dict[str, Figure]:
        """The mean norm of the embeddings."""
        return mean_norm(norms)


@HEADS.register(
    "magface",
    summary="angular margin by norm: s 64, norms 10 to 110, m 0.45 to 0.8, lambda_g 35",
    source="arXiv 2103.06627",
)
def magface(*, scale: float | None, margin: float | None) -> Margin:
    """MagFace with s = 64; takes no single margin."""
    refuse_margin("magface", margin, "it has one for every norm, from 0.45 to 0.8")
    return MagFace(scale=SCALE if scale is None else scale)
