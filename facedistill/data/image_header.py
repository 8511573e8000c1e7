"""What an image file says of itself in its first bytes: its format and its channels."""

from __future__ import annotations

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type (PNG specification, 11.2.2)
# Start-of-frame markers of JPEG: C0 to CF without C4 (Huffman tables), C8 (reserved) and CC (arithmetic conditioning).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


FORMATS = ("jpeg", "png", "bmp", "webp", "gif", "tiff", "jpeg 2000", "unknown")

_SUFFIXES = {
    "jpeg": ".jpg",
    "png": ".png",
    "bmp": ".bmp",
    "webp": ".webp",
    "gif": ".gif",
    "tiff": ".tif",
    "jpeg 2000": ".jp2",
}

_MAGIC = (
    (b"\xff\xd8", "jpeg"),
    (b"\x89PNG", "png"),
    (b"BM", "bmp"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\0\0\0\x0cjP", "jpeg 2000"),
    (b"\xff\x4f\xff\x51", "jpeg 2000"),
)


def image_format(encoded: bytes) -> str:
    """The format by the first bytes, whatever the suffix says: one of `FORMATS`."""
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if encoded.startswith(magic)), "unknown")


def image_suffix(encoded: bytes) -> str:
    """The usual suffix of an image by its first bytes; ".jpg" where they say nothing, so that readers find the file."""
    return _SUFFIXES.get(image_format(encoded), ".jpg")


def stored_channels(encoded: bytes) -> int | None:
    """Channels that a JPEG or a PNG stores: 1 for a grey file; None for other formats or where that is not found."""
    kind = image_format(encoded)
    if kind == "png" and len(encoded) > 25:
        return _PNG_CHANNELS.get(encoded[25])
    if kind != "jpeg":
        return None
    position = 2
    while position + 10 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker in START_OF_FRAME:
            return encoded[position + 9]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return None
