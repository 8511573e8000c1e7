"""The combined margin: multiplicative, additive angular and additive cosine at once (ArcFace, arXiv 1801.07698)."""

from __future__ import annotations

import torch

from facedistill.heads.margin import HEADS, Margin, away_from_one, refuse_margin

# m1, m2 and m3 of CM1, the first combination of table 2; insightface's `combined` loss has the same.
SCALE, MARGINS = 64.0, (1.0, 0.3, 0.2)


class CombinedMargin(Margin):
    """Target logit s * (cos(m1 * theta + m2) - m3) (equation 4 of the ArcFace paper).

    Args:
        scale: s.
        margins: m1 (a factor), m2 (radians), m3 (cosine).
    """

    def __init__(self, *, scale: float = SCALE, margins: tuple[float, float, float] = MARGINS) -> None:
        super().__init__(scale=scale)
        self.margins = margins

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,) -> cos(m1 * theta + m2) - m3 (N,)."""
        factor, angle, subtracted = self.margins
        return torch.cos(factor * torch.acos(away_from_one(cosine)) + angle) - subtracted


@HEADS.register(
    "combined",
    summary="s * (cos(m1 * theta + m2) - m3), s 64, m1 1, m2 0.3, m3 0.2",
    source="arXiv 1801.07698, CM1 of table 2",
)
def combined(*, scale: float | None, margin: float | None) -> Margin:
    """The combined margin with s = 64, m1 = 1, m2 = 0.3 and m3 = 0.2; takes no single margin."""
    refuse_margin("combined", margin, "it has three, m1 1, m2 0.3 and m3 0.2")
    return CombinedMargin(scale=SCALE if scale is None else scale)
