"""The part of a face dataset that embedding it needs: images and their keys, without identities."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class ImageSource(Protocol):
    """Indexed images with a stable key each; every `FaceDataset` is one, and so are the images of a pair list."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; raises DataError where it cannot be decoded."""
        ...

    def encoded(self, index: int) -> bytes:
        """Image `index` as it is stored (JPEG, PNG, ...), not decoded; raises DataError where it cannot be read."""
        ...

    def key(self, index: int) -> str:
        """A name of image `index` that stays the same from run to run."""
        ...
