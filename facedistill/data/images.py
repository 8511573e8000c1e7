"""Find the images below a folder, and read and write one of them as uint8 RGB: here alone OpenCV is asked for that."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.claimed_size import check_claimed_size
from facedistill.errors import DataError, UsageError

# Left out: .avif, whose EXIF orientation OpenCV ignores and whose colours it swaps where there is an alpha channel.
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_MOST_AT_ONCE = 1 << 18

_QUALITY_OPTIONS = {
    ".jpeg": cv2.IMWRITE_JPEG_QUALITY,
    ".jpg": cv2.IMWRITE_JPEG_QUALITY,
    ".webp": cv2.IMWRITE_WEBP_QUALITY,
}


@dataclass(frozen=True)
class FolderScan:
    """What lies below a folder; hidden files and folders (with a leading dot) are left out everywhere.

    Attributes:
        images: paths of the image files relative to the folder, with forward slashes, sorted.
        outside_links: the same of symbolic links that are not followed: to a file or folder outside, or to nothing.
            Links to folders inside are in neither list: what lies there is found under its own path.
        ignored: how many other files there are, by lower-case suffix such as ".heic", "" for none.
    """

    images: list[str]
    outside_links: list[str]
    ignored: dict[str, int]


def is_truncated(encoded: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker after the start of its scan."""
    # Nearly every whole JPEG ends so; one that is cut exactly here has no scan, which the decoder notices.
    if not encoded.startswith(b"\xff\xd8") or encoded.endswith(b"\xff\xd9"):
        return False
    # An embedded thumbnail carries an end marker of its own, so the header segments are stepped over first.
    position = 2
    while position + 4 <= len(encoded) and encoded[position] == 0xFF and encoded[position + 1] != 0xDA:
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return encoded.find(b"\xff\xd9", position) < 0


def decode_image(encoded: bytes, *, place: object) -> npt.NDArray[np.uint8]:
    """Decode an encoded image (JPEG, PNG, ...) to (H, W, 3) uint8 RGB, EXIF orientation applied.

    Grey becomes three equal channels, CMYK becomes RGB, of 16 bits the upper eight are kept. An alpha channel is
    dropped: a transparent pixel shows the colour that is stored for it, as with Pillow's `convert("RGB")`; a TIFF's is
    laid over black. Of an animation the first frame is taken. OpenCV before version 5 ignores the orientation of WebP.

    Raises:
        DataError: the bytes are no image, or an incomplete one; `place` says where they came from.
    """
    # Checked here because decoders may fill the missing part with grey and report success.
    if is_truncated(encoded):
        raise DataError("the image is truncated: its end is missing", place=place)
    check_claimed_size(encoded, place=place)
    buffer = np.frombuffer(encoded, dtype=np.uint8)
    try:
        # RGB at once: turning the channels round afterwards would double the memory that a huge photo takes.
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) if buffer.size else None
    except cv2.error as error:  # a header that claims more pixels than OpenCV accepts
        raise DataError(f"the image cannot be decoded ({error.err})", place=place) from error
    if image is None:
        raise DataError("the image is corrupt, empty or of an unknown kind", place=place)
    return np.asarray(image, dtype=np.uint8)


def read_encoded(path: str | Path) -> bytes:
    """The bytes of an image file; DataError where it cannot be read."""
    # By the system calls themselves: opening a file object costs as much as a tenth of decoding a small crop.
    try:
        file = os.open(path, _READ)
        try:
            parts = [os.read(file, _MOST_AT_ONCE)]
            while parts[-1]:
                parts.append(os.read(file, _MOST_AT_ONCE))
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(f"the image cannot be read ({error.strerror})", place=path) from error
    return parts[0] if len(parts) <= 2 else b"".join(parts)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image file to (H, W, 3) uint8 RGB as `decode_image` does; DataError where that fails."""
    return decode_image(read_encoded(path), place=path)


def encode_image(image: npt.NDArray[np.uint8], suffix: str, quality: int = 95) -> bytes:
    """Encode (H, W, 3) uint8 RGB; the same pixels always give the same bytes.

    Args:
        image: the pixels.
        suffix: the format: ".jpg", ".png", ".webp" or another that OpenCV writes, in any case.
        quality: 1 to 100 for JPEG and WebP, whatever it is these lose a little; the other formats are lossless.

    Raises:
        UsageError: the quality is out of range.
        DataError: the image cannot be encoded so, for example because it is too large for the format.
    """
    check_quality(quality)
    option = _QUALITY_OPTIONS.get(suffix.lower())
    try:
        encoded, buffer = cv2.imencode(
            suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [] if option is None else [option, quality]
        )
    except cv2.error as error:
        raise DataError(f"the image cannot be encoded as {suffix} ({error.err})") from error
    if not encoded:
        raise DataError(f"the image cannot be encoded as {suffix}")
    return bytes(buffer)


def check_quality(quality: int) -> None:
    """UsageError where there is no such quality of a lossy format."""
    if not 1 <= quality <= 100:
        raise UsageError(f"the quality is {quality}, it must be 1 to 100", next_step="95 is the usual one")


def write_image(path: Path, image: npt.NDArray[np.uint8], *, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB; the suffix decides the format, as in `encode_image`, whose errors it raises.

    Raises:
        OSError: the file cannot be written.
    """
    encoded = encode_image(image, path.suffix, quality)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)


def scan_folder(folder: Path) -> FolderScan:
    """Look for images below `folder`, by suffix; nothing outside it is read, and nothing is read twice in a circle.

    A symbolic link to a file counts as the image that its own name says, as long as the file lies inside the folder.

    Raises:
        DataError: the folder or one below it cannot be read.
    """
    root = folder.resolve()
    images: list[str] = []
    outside: list[str] = []
    ignored: Counter[str] = Counter()
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(root / parent) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{parent}{entry.name}"
                    dot = entry.name.rfind(".")
                    suffix = entry.name[dot:].lower() if 0 < dot < len(entry.name) - 1 else ""
                    kind = _kind(entry, root)
                    if kind == "folder":
                        waiting.append(f"{name}/")
                    elif kind == "file" and suffix in IMAGE_SUFFIXES:
                        images.append(name)
                    elif kind == "file":
                        ignored[suffix] += 1
                    elif kind == "outside folder" or (kind == "outside file" and suffix in IMAGE_SUFFIXES):
                        outside.append(name)
        except OSError as error:
            raise DataError(f"the folder cannot be read ({error.strerror})", place=folder / parent) from error
    return FolderScan(sorted(images), sorted(outside), dict(sorted(ignored.items())))


def image_names(folder: Path) -> list[str]:
    """Every image file below `folder` by its relative path, sorted.

    Unlike `scan_folder`, links to files elsewhere count: a data set may be a folder of links, and is only read.
    """
    scan = scan_folder(folder)
    links = [name for name in scan.outside_links if (folder / name).is_file()]
    return sorted([*scan.images, *links])


_Kind = Literal["file", "folder", "outside file", "outside folder", "neither"]


def _kind(entry: os.DirEntry[str], root: Path) -> _Kind:
    """What an entry of a folder is; an outside file may be a link to nothing at all."""
    if not entry.is_symlink():
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "neither"  # a pipe or a device would block
    try:
        mode = entry.stat().st_mode
        inside = Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # nothing there, no right to look, or a circle of links
        return "outside file"
    if stat.S_ISDIR(mode):
        return "neither" if inside else "outside folder"
    if stat.S_ISREG(mode):
        return "file" if inside else "outside file"
    return "neither"
