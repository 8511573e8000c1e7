"""The bytes that a conversion copies."""

from __future__ import annotations

from facedistill.data.image_source import ImageSource
from facedistill.errors import DataError


def stored_bytes(source: ImageSource, index: int) -> bytes:
    """The bytes of an image as they are stored; DataError where they cannot be read or there are none.

    An image of zero bytes would be lost without a word: readers of a `.rec` take it for a record without an image.
    """
    encoded = source.encoded(index)
    if not encoded:
        raise DataError("the image is empty (0 bytes)", place=source.key(index))
    return encoded
