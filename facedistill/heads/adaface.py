"""AdaFace: a margin that follows the image's quality, read off the embedding's norm (Kim et al., CVPR 2022)."""

from __future__ import annotations

import math

import torch

from facedistill.heads.margin import HEADS, Margin, away_from_one, mean_norm
from facedistill.loss import Figure

# The values of the paper (arXiv 2204.00964); h is the concentration, and the rate is that of the running statistics.
SCALE, MARGIN, CONCENTRATION, RATE = 64.0, 0.4, 0.333, 0.01
# Of the authors' code: what the statistics start at, the norms that count, and how near 0 and pi the angle may come.
FIRST_MEAN, FIRST_STD = 20.0, 100.0
SMALLEST_NORM, LARGEST_NORM = 0.001, 100.0
EDGE = 1e-3


class AdaFace(Margin):
    """Target logit s * (cos(theta + g_angle) - g_add), g_angle = -m * z, g_add = m * z + m.

    z = clip(h * (norm - mean) / std, -1, 1) is the quality, from running mean and standard deviation of the norms; no
    gradient flows through it. With a good image (z = 1) the margin stresses hard images, with a bad one easy ones.

    Args:
        scale: s.
        margin: m, in radians and in cosine.
        concentration: h.
        rate: the weight of a new batch in the running statistics.
    """

    has_statistics = True
    norm_mean: torch.Tensor
    norm_std: torch.Tensor

    def __init__(
        self,
        *,
        scale: float = SCALE,
        margin: float = MARGIN,
        concentration: float = CONCENTRATION,
        rate: float = RATE,
    ) -> None:
        super().__init__(scale=scale)
        self.margin = margin
        self.concentration = concentration
        self.rate = rate
        self.register_buffer("norm_mean", torch.tensor(FIRST_MEAN))
        self.register_buffer("norm_std", torch.tensor(FIRST_STD))

    def update(self, cosine: torch.Tensor, norms: torch.Tensor) -> None:
        """Move the running mean and standard deviation towards those of the norms (N,) of all processes' images."""
        norms = norms.clamp(SMALLEST_NORM, LARGEST_NORM)
        self.norm_mean.lerp_(norms.mean(), self.rate)
        if len(norms) > 1:  # one image has no standard deviation
            self.norm_std.lerp_(norms.std(), self.rate)

    def quality(self, norms: torch.Tensor) -> torch.Tensor:
        """Norms (N,) -> z (N,) in [-1, 1], without gradient."""
        norms = norms.detach().clamp(SMALLEST_NORM, LARGEST_NORM)
        return (self.concentration * (norms - self.norm_mean) / (self.norm_std + EDGE)).clamp(-1, 1)

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Cosines (N,), norms (N,) -> cos(theta - m * z) - m * z - m (N,)."""
        quality = self.quality(norms)
        angle = torch.acos(away_from_one(cosine)) - self.margin * quality
        return torch.cos(angle.clamp(EDGE, math.pi - EDGE)) - self.margin * quality - self.margin

    def figures(self, norms: torch.Tensor) -> dict[str, Figure]:
        """The mean norm of the embeddings."""
        return mean_norm(norms)


@HEADS.register("adaface", summary="margin by image quality (norm), s 64, m 0.4, h 0.333", source="arXiv 2204.00964")
def adaface(*, scale: float | None, margin: float | None) -> Margin:
    """AdaFace with s = 64 and m = 0.4 unless told otherwise."""
    return AdaFace(scale=SCALE if scale is None else scale, margin=MARGIN if margin is None else margin)
