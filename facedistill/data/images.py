"""Read and write one image file as uint8 RGB; the only place where OpenCV's BGR order is turned round."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


def is_truncated(encoded: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker after the start of its scan, or a PNG its IEND chunk."""
    if encoded.startswith(b"\x89PNG"):
        return b"IEND" not in encoded
    if not encoded.startswith(b"\xff\xd8"):
        return False
    # An embedded thumbnail carries an end marker of its own, so the header segments are stepped over first.
    position = 2
    while position + 4 <= len(encoded) and encoded[position] == 0xFF and encoded[position + 1] != 0xDA:
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return encoded.find(b"\xff\xd9", position) < 0


def decode_image(encoded: bytes, *, place: object) -> npt.NDArray[np.uint8]:
    """Decode an encoded image (JPEG, PNG, ...) to (H, W, 3) uint8 RGB.

    Raises:
        DataError: the bytes are no image; `place` says where they came from.
    """
    # Checked here because the decoder itself fills the missing part with grey and reports success.
    if is_truncated(encoded):
        raise DataError("the image is truncated: its end is missing", place=place)
    buffer = np.frombuffer(encoded, dtype=np.uint8)
    try:
        bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    except cv2.error as error:  # a header that claims more pixels than OpenCV accepts
        raise DataError(f"the image cannot be decoded ({error.err})", place=place) from error
    if bgr is None:
        raise DataError("the image is corrupt, empty or of an unknown kind", place=place)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image file to (H, W, 3) uint8 RGB, EXIF orientation applied; DataError where that fails."""
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise DataError(f"the image cannot be read ({error.strerror})", place=path) from error
    return decode_image(encoded, place=path)


def write_image(path: Path, image: npt.NDArray[np.uint8], *, jpeg_quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB; the suffix decides the format. DataError where it cannot be written."""
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix.lower() in (".jpg", ".jpeg") else []
    encoded, buffer = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not encoded:
        raise DataError("the image cannot be encoded", place=path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.tobytes())


def find_images(folder: Path) -> list[Path]:
    """Every image file below `folder` by its suffix, sorted by relative path; hidden files are left out."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    visible = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())
