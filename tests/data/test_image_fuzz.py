"""Mutated JPEG and PNG bytes: an error of ours or an image, in little time."""

from __future__ import annotations

import time
import zlib

import cv2
import numpy as np
import pytest

from facedistill.data.images import decode_image
from facedistill.errors import DataError

MUTATIONS = 1000

_PIXELS = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8), (5, 5), 2)


def encoded(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, _PIXELS, list(options))[1].tobytes()


SEEDS = {
    "jpeg": encoded(".jpg"),
    "progressive jpeg": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "grey jpeg": cv2.imencode(".jpg", _PIXELS[..., 0])[1].tobytes(),
    "png": encoded(".png"),
    "png with alpha": cv2.imencode(".png", cv2.cvtColor(_PIXELS, cv2.COLOR_BGR2BGRA))[1].tobytes(),
}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to six changes: bytes, pieces left out or repeated; the checksums of PNG chunks are often set right."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 7))):
        at, length = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 20))
        match int(rng.integers(6)):
            case 0 | 1:
                changed[at : at + 1] = rng.bytes(1)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + 2] = bytes([0xFF, int(rng.integers(0xC0, 0x100))])
            case 5 if rng.random() < 0.2:
                del changed[at:]
    if changed.startswith(b"\x89PNG") and rng.random() < 0.7:
        check_chunks(changed)
    return bytes(changed)


def check_chunks(content: bytearray) -> None:
    position = 8
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(content):
            return
        content[end : end + 4] = zlib.crc32(content[position + 4 : end]).to_bytes(4, "big")
        position = end + 4


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_images(name: str) -> None:
    assert decode_image(SEEDS[name], place=name).shape == (24, 32, 3)
    rng = np.random.default_rng(len(name))
    decoded = 0
    for _ in range(MUTATIONS):
        content = mutated(SEEDS[name], rng)
        started = time.process_time()
        try:
            image = decode_image(content, place="here")
        except DataError as error:
            assert error.place == "here"  # noqa: PT017 - both outcomes are right
        else:
            decoded += 1
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.size
        assert time.process_time() - started < 2
    assert 0 < decoded < MUTATIONS


def jpeg_claiming(height: int, width: int) -> bytes:
    content = bytearray(SEEDS["jpeg"])
    at = content.find(b"\xff\xc0")
    content[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(content)


def png_claiming(height: int, width: int) -> bytes:
    content = bytearray(SEEDS["png"])
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    check_chunks(content)
    return bytes(content)


def png_with_a_chunk_of(length: int) -> bytes:
    at = SEEDS["png"].find(b"IDAT") - 4
    return SEEDS["png"][:at] + length.to_bytes(4, "big") + SEEDS["png"][at + 4 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg_claiming(32_000, 32_000), "pixels"),
        (png_claiming(32_000, 32_000), "pixels"),
        (png_with_a_chunk_of(0xF0000000), "truncated"),
    ],
    ids=["jpeg", "png", "chunk of a png"],
)
def test_what_a_header_claims_too_much(content: bytes, message: str) -> None:
    """A file of a few hundred bytes makes OpenCV reserve gigabytes where nothing looks at its header first."""
    started = time.process_time()
    with pytest.raises(DataError, match=message):
        decode_image(content, place="here")
    assert time.process_time() - started < 0.1
