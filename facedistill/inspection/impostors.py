"""How alike the faces of different people are to a model, and from which cosine on two faces are one person's."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

FEWEST_IDENTITIES = 20
"""Identities below which a data set does not say what impostors reach (ours)."""

_SAMPLE = 4096  # images, and identities, whose cosines are looked at
# Levels of the distribution that decide its width. Wrong labels lie in its upper end, so the outer ones are asked only
# where as many cosines lie beyond them that some wrong labels do not move them (ours).
_LEVELS = (0.9, 0.99, 0.999)
_MOST_BEYOND = 1000


@dataclass(frozen=True)
class Impostors:
    """The cosines of images to the centres of other people, as a normal distribution.

    Its width is that of the upper half, from the median to the outermost level that can be read: with LFW the normal
    then foretells the cosine that one impostor in 100,000 reaches to within 0.03.

    Attributes:
        mean: the median.
        std: standard deviation of a normal with the same upper half.
        compared: cosines that were looked at.
    """

    mean: float
    std: float
    compared: int

    def threshold(self, far: float) -> float:
        """The cosine that a share `far` of impostors reaches, at most 1."""
        return min(self.mean + self.std * NormalDist().inv_cdf(1 - far), 1.0)


def fit_impostors(embeddings: Floats, labels: Indices, centres: Floats, *, seed: int = 0) -> Impostors | None:
    """Look at the cosines of a sample of images to the centres of a sample of other identities.

    Args:
        embeddings: (N, D) float32 of length 1.
        labels: (N,) int64 row of `centres`.
        centres: (C, D) float32 of length 1.
        seed: decides the sample.

    Returns:
        None for fewer than `FEWEST_IDENTITIES`.
    """
    if len(centres) < FEWEST_IDENTITIES:
        return None
    rng = np.random.default_rng(seed)
    images = rng.permutation(len(embeddings))[:_SAMPLE]
    people = rng.permutation(len(centres))[:_SAMPLE]
    cosines = embeddings[images] @ centres[people].T
    others = cosines[labels[images][:, None] != people[None, :]]
    median = float(np.median(others))
    levels = [level for level in _LEVELS if level == _LEVELS[0] or len(others) * (1 - level) >= _MOST_BEYOND]
    widths = (np.quantile(others, levels) - median) / [NormalDist().inv_cdf(level) for level in levels]
    return Impostors(mean=median, std=float(max(widths.max(), 1e-6)), compared=len(others))
