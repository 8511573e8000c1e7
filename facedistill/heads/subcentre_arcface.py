"""Sub-centre ArcFace: several centres for each class, which wrong labels may gather around (Deng et al., ECCV 2020)."""

from __future__ import annotations

from facedistill.heads.arcface import ArcFace
from facedistill.heads.margin import HEADS, Margin

# The values of the paper: ArcFace's scale and margin, and three sub-centres.
SCALE, MARGIN = 64.0, 0.5


class SubcentreArcFace(ArcFace):
    """ArcFace where an image's cosine with a class is that with the nearest of the class's K = 3 centres."""

    centres_per_identity = 3


@HEADS.register(
    "subcentre-arcface",
    summary="arcface with 3 centres a class, for noisy labels, s 64, m 0.5",
    source="Sub-center ArcFace, ECCV 2020",
)
def subcentre_arcface(*, scale: float | None, margin: float | None) -> Margin:
    """Sub-centre ArcFace with K = 3, s = 64 and m = 0.5 unless told otherwise."""
    return SubcentreArcFace(scale=SCALE if scale is None else scale, margin=MARGIN if margin is None else margin)
