from __future__ import annotations

import io

import pytest
from PIL import Image

from facedistill.data.image_header import image_format, stored_channels


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "jpeg", 1), ("RGB", "jpeg", 3), ("CMYK", "jpeg", 4),
        ("L", "png", 1), ("LA", "png", 2), ("RGB", "png", 3), ("P", "png", 3), ("RGBA", "png", 4),
        ("RGB", "bmp", None), ("RGB", "webp", None), ("RGB", "gif", None), ("RGB", "tiff", None),
    ],
)  # fmt: skip
def test_what_pillow_writes_is_recognised(mode: str, kind: str, channels: int | None) -> None:
    file = io.BytesIO()
    Image.new(mode, (20, 10)).save(file, kind)
    assert image_format(file.getvalue()) == kind
    assert stored_channels(file.getvalue()) == channels


def test_a_progressive_jpeg_with_a_comment() -> None:
    file = io.BytesIO()
    Image.new("L", (20, 10)).save(file, "jpeg", progressive=True, comment=b"\xff\xc0" * 40)
    assert stored_channels(file.getvalue()) == 1


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG", b"text", b"\xff\xd8\xff\xe0\x00", b"RIFF"])
def test_rubbish_is_no_reason_to_crash(data: bytes) -> None:
    image_format(data)
    assert stored_channels(data) is None
