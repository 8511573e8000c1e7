"""Images that are read once, for their pixels and for the checksum of their stored bytes."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from facedistill.data.image_source import ImageSource
from facedistill.data.images import decode_image
from facedistill.shown_name import shown_name


class CheckedImages:
    """A source of images that remembers the CRC-32 of what it decoded, until it is asked for it.

    Args:
        images: where they come from.
    """

    def __init__(self, images: ImageSource) -> None:
        self._images = images
        self._checksums: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        """As the images themselves have it."""
        return self._images.key(index)

    def encoded(self, index: int) -> bytes:
        """The stored bytes; DataError where they cannot be read."""
        return self._images.encoded(index)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; DataError where it cannot be read or decoded."""
        encoded = self._images.encoded(index)
        self._checksums[index] = zlib.crc32(encoded)
        return decode_image(encoded, place=shown_name(self._images.key(index)))

    def take_checksums(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """(B,) uint32 of images that were decoded, 0 for those that could not be read; they are forgotten then."""
        return np.array([self._checksums.pop(index, 0) for index in indices.tolist()], dtype=np.uint32)
