"""Several data sets as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset


class JoinedDataset:
    """Several data sets one after another, as a `FaceDataset`.

    Identities of two parts are two people, even where their names are equal: numbers such as 000017 name somebody else
    in each data set. Their names and the keys begin with the part's name and a slash.

    Args:
        parts: the data sets.
        names: what each is called, all different.

    Raises:
        ValueError: the names are not different, or not as many as the parts.
    """

    def __init__(self, parts: Sequence[FaceDataset], names: Sequence[str]) -> None:
        if len(set(names)) != len(parts) or len(names) != len(parts):
            raise ValueError(f"{len(parts)} data sets are named {list(names)}")
        self.parts = list(parts)
        self.names = list(names)
        self.identities = [f"{name}/{identity}" for name, part in self._named() for identity in part.identities]
        firsts = np.cumsum([0, *(len(part.identities) for part in parts)])
        self.labels: npt.NDArray[np.int64] = np.concatenate(
            [part.labels + first for part, first in zip(parts, firsts[:-1], strict=True)]
        )
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def _named(self) -> list[tuple[str, FaceDataset]]:
        return list(zip(self.names, self.parts, strict=True))

    def _find(self, index: int) -> tuple[int, int]:
        """Which part image `index` is in, and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return part, index - int(self._starts[part])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; DataError where it is corrupt."""
        part, place = self._find(index)
        return self.parts[part].image(place)

    def encoded(self, index: int) -> bytes:
        """Its bytes as they are stored; DataError where they cannot be read."""
        part, place = self._find(index)
        return self.parts[part].encoded(place)

    def key(self, index: int) -> str:
        """The part's name, a slash, and the key that the image has there."""
        part, place = self._find(index)
        return f"{self.names[part]}/{self.parts[part].key(place)}"

    @cached_property
    def fingerprint(self) -> str:
        """Of the parts, their names and their order."""
        text = "\0".join(f"{name}\0{part.fingerprint}" for name, part in self._named())
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
