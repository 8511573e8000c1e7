from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.data.images import decode_image, find_images, is_truncated, read_image, write_image
from facedistill.errors import DataError


@pytest.fixture
def picture() -> np.ndarray:
    image = np.zeros((24, 24, 3), dtype=np.uint8)
    image[:, :12] = (200, 30, 10)
    return image


def test_colours_survive(picture: np.ndarray, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)
    write_image(tmp_path / "deep" / "a.jpg", picture)
    assert np.abs(read_image(tmp_path / "deep" / "a.jpg")[5, 3].astype(int) - (200, 30, 10)).max() < 12


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 8), 77, dtype=np.uint8))
    assert read_image(tmp_path / "grey.png").shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_truncated_image_is_an_error_and_not_half_grey(suffix: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_image(tmp_path / f"whole{suffix}", noise)
    encoded = (tmp_path / f"whole{suffix}").read_bytes()
    assert not is_truncated(encoded)
    with pytest.raises(DataError, match=r"photo 7: the image is truncated"):
        decode_image(encoded[: int(share * len(encoded))], place="photo 7")


def test_the_end_marker_of_a_thumbnail_does_not_count() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoded = cv2.imencode(".jpg", noise)[1].tobytes()
    thumbnail = b"\xff\xe1" + (2 + 6).to_bytes(2, "big") + b"ab\xff\xd9cd"
    with_thumbnail = encoded[:2] + thumbnail + encoded[2:]
    assert not is_truncated(with_thumbnail)
    assert is_truncated(with_thumbnail[: len(with_thumbnail) // 2])


@pytest.mark.parametrize("content", [b"", b"not an image", b"GIF89a"])
def test_what_is_no_image(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.jpg: the image is corrupt, empty or of an unknown kind"):
        read_image(tmp_path / "x.jpg")


def test_a_header_that_claims_too_many_pixels() -> None:
    encoded = bytearray(cv2.imencode(".png", np.zeros((4, 4, 3), dtype=np.uint8))[1].tobytes())
    header = encoded[12:29]
    header[4:12] = (100_000).to_bytes(4, "big") * 2
    encoded[12:29] = header
    encoded[29:33] = zlib.crc32(bytes(header)).to_bytes(4, "big")
    with pytest.raises(DataError, match=r"photo 7: the image (cannot be decoded|is corrupt)"):
        decode_image(bytes(encoded), place="photo 7")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "none.jpg")


def test_find_images_is_sorted_and_skips_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "b/10.jpeg", ".cache/x.jpg", "a/.y.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/1.png", "b/10.jpeg", "b/2.JPG"]
