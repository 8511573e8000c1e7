"""How many images the identities have: quantiles and a table of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
"""Those that are reported, by the name they go by."""


@dataclass(frozen=True)
class ImageCounts:
    """Images per identity, of one identity at least.

    Attributes:
        quantiles: by the names of `QUANTILES`; between two counts they are interpolated.
        identities: number of images -> how many identities have so many, ascending.
    """

    quantiles: dict[str, float]
    identities: dict[int, int]

    @property
    def singles(self) -> int:
        """Identities with one image."""
        return self.identities.get(1, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, whose keys are text."""
        return {
            "quantiles": self.quantiles,
            "identities_with": {str(count): number for count, number in self.identities.items()},
        }


def image_counts(labels: npt.NDArray[np.int64]) -> ImageCounts | None:
    """Count the images of each label from 0 on that occurs in (N,) int64 `labels`; None where there is none."""
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(counts):
        return None
    values = np.quantile(counts, list(QUANTILES.values()))
    numbers, identities = np.unique(counts, return_counts=True)
    return ImageCounts(
        quantiles={name: round(float(value), 2) for name, value in zip(QUANTILES, values, strict=True)},
        identities=dict(zip(numbers.tolist(), identities.tolist(), strict=True)),
    )
