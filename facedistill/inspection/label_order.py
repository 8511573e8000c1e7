"""Whether the labels of a data set run in order and without gaps, as those that wrote it mostly meant them to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_NAMES = 10


@dataclass(frozen=True)
class LabelOrder:
    """What the order of the labels says.

    Attributes:
        several: identities with two images or more.
        scattered: those of them whose images do not follow one another.
        scattered_names: the first of these, at most 10 names.
        empty: identities that are counted and have no image, and numbers that are missing among classes.
        empty_names: the first of these, at most 10 names.
    """

    several: int
    scattered: int
    scattered_names: tuple[str, ...]
    empty: int
    empty_names: tuple[str, ...]

    @property
    def shuffled(self) -> bool:
        """Whether the images of most identities lie apart: a shuffled order, and no slip of who wrote it."""
        return 2 * self.scattered > self.several

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "scattered_names": list(self.scattered_names),
            "empty_names": list(self.empty_names),
        }


def label_order(labels: npt.NDArray[np.int64], identities: tuple[str, ...]) -> LabelOrder:
    """Look for identities in pieces and for those without an image.

    Args:
        labels: (N,) int64 index into `identities`, in the order in which the images are stored.
        identities: the names; where these are the numbers of classes, one that is left out is a gap.
    """
    starts = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
    pieces = np.bincount(starts, minlength=len(identities))
    scattered = np.flatnonzero(pieces > 1)
    empty = [identities[label] for label in np.flatnonzero(pieces == 0).tolist()] + _left_out(identities)
    return LabelOrder(
        several=int((np.bincount(labels, minlength=len(identities)) > 1).sum()),
        scattered=len(scattered),
        scattered_names=tuple(identities[label] for label in scattered[:_MOST_NAMES].tolist()),
        empty=len(empty),
        empty_names=tuple(empty[:_MOST_NAMES]),
    )


def _left_out(identities: tuple[str, ...]) -> list[str]:
    """Numbers between 0 and the largest name that are no name, where the names look like a count of classes."""
    if not all(name.isascii() and name.isdecimal() and len(name) < 10 for name in identities):
        return []
    numbers = {int(name) for name in identities}
    if {str(number) for number in numbers} != set(identities) or 2 * len(numbers) < max(numbers) + 1:
        return []  # 0017, or 1234567: names that are numbers by chance
    return [str(number) for number in range(max(numbers)) if number not in numbers]
