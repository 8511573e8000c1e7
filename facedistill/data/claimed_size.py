"""What an image file claims to hold, read from its headers before a decoder believes it."""

from __future__ import annotations

from facedistill.data.image_header import START_OF_FRAME
from facedistill.errors import DataError

MOST_PIXELS = 1 << 28
"""Of any image: 805 MB decoded; the largest cameras of phones make 200 million."""

MOST_PIXELS_PER_BYTE = 10_000
"""Ours, above what any format reaches on one flat colour: a PNG of one bit a pixel 8,256 (deflate's 1,032 to 1)."""

_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])


def check_claimed_size(encoded: bytes, *, place: object) -> None:
    """DataError where a JPEG or PNG claims more pixels than its bytes can hold, or a PNG chunk more bytes than follow.

    OpenCV reserves what a header claims: 1,009 bytes made it take 5.9 GB and 10 seconds, and call that an image.
    """
    if encoded.startswith(b"\x89PNG"):
        if not _reaches_end(encoded):
            raise DataError("the image is truncated: its end is missing", place=place)
        pixels = int.from_bytes(encoded[16:20], "big") * int.from_bytes(encoded[20:24], "big")
    elif encoded.startswith(b"\xff\xd8"):
        pixels = _jpeg_pixels(encoded)
    else:
        return
    if pixels > min(MOST_PIXELS, MOST_PIXELS_PER_BYTE * len(encoded)):
        raise DataError(f"its header claims {pixels:,} pixels in {len(encoded):,} bytes", place=place)


def _reaches_end(png: bytes) -> bool:
    """Whether the chunks follow one another up to IEND."""
    position = 8
    while position + 12 <= len(png):
        if png[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(png[position : position + 4], "big")
    return False


def _jpeg_pixels(jpeg: bytes) -> int:
    """Height x width of the first frame, libjpeg takes no second; it steps over bytes between segments, as here."""
    position = 2
    while (position := jpeg.find(b"\xff", position)) >= 0 and position + 9 < len(jpeg):
        marker = jpeg[position + 1]
        if marker in START_OF_FRAME:
            height, width = jpeg[position + 5 : position + 7], jpeg[position + 7 : position + 9]
            return int.from_bytes(height, "big") * int.from_bytes(width, "big")
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH or marker == 0:
            position += 2
        else:
            position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return 0
