from __future__ import annotations

import errno
import io
import os
import stat
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facedistill.data.images import (
    IMAGE_SUFFIXES,
    FolderScan,
    decode_image,
    encode_image,
    image_names,
    is_truncated,
    read_image,
    scan_folder,
    write_image,
)
from facedistill.errors import DataError, UsageError

WIDTH, HEIGHT = 64, 48


def scene() -> np.ndarray:
    """(48, 64, 3): colours that run smoothly, and a red patch that tells every side from every other."""
    across, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    image = np.stack([across, down, np.full_like(across, 90)], axis=-1).astype(np.uint8)
    image[8:16, 8:24] = (250, 20, 10)
    return image


def alpha() -> np.ndarray:
    """(48, 64): transparent on the left, opaque on the right."""
    return np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pillow(encoded: bytes, mode: str = "RGB") -> np.ndarray:
    """What Pillow makes of it, upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert(mode))[..., :3]


def difference(encoded: bytes, expected: np.ndarray) -> int:
    ours = decode_image(encoded, place="photo 7").astype(int)
    assert ours.shape == expected.shape
    return int(np.abs(ours - expected).max())


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
    with pytest.raises(DataError, match=r"photo 7: its header claims 10,000,000,000 pixels in \d+ bytes"):
        decode_image(bytes(encoded), place="photo 7")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "none.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    if kind == "WEBP" and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("this OpenCV ignores it")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    encoded = packed(Image.fromarray(scene()), kind, exif=exif, **options)
    expected = pillow(encoded)
    assert expected.shape == ((WIDTH, HEIGHT, 3) if orientation > 4 else (HEIGHT, WIDTH, 3))
    assert difference(encoded, expected) <= 2


def test_a_photo_that_was_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned so that the top of the scene lies at the left of the stored rows
    encoded = packed(Image.fromarray(scene()), "PNG", exif=exif)
    assert np.array_equal(decode_image(encoded, place="photo 7"), np.rot90(scene(), -1))


def test_kinds_of_grey_and_palette() -> None:
    grey = scene()[..., 0]
    three = np.repeat(grey[..., None], 3, axis=2)
    assert difference(packed(Image.fromarray(grey), "PNG"), three) == 0
    assert difference(packed(Image.fromarray(grey), "JPEG", quality=100), three) <= 2
    bilevel = packed(Image.fromarray(grey).convert("1"), "PNG")
    assert difference(bilevel, pillow(bilevel)) == 0
    palette = Image.fromarray(scene()).quantize(32)
    assert difference(packed(palette, "PNG"), np.asarray(palette.convert("RGB"))) == 0
    assert difference(packed(palette, "GIF"), np.asarray(palette.convert("RGB"))) == 0


def test_an_alpha_channel_is_dropped() -> None:
    with_alpha = Image.fromarray(np.dstack([scene(), alpha()]))
    assert difference(packed(with_alpha, "PNG"), scene()) == 0
    assert difference(packed(with_alpha, "WEBP", lossless=True, exact=True), scene()) == 0
    grey = Image.fromarray(np.dstack([scene()[..., 0], alpha()]), "LA")
    assert difference(packed(grey, "PNG"), np.repeat(scene()[..., :1], 3, axis=2)) == 0
    palette = Image.fromarray(scene()).quantize(32)
    encoded = packed(palette, "PNG", transparency=3)
    assert difference(encoded, pillow(encoded, "RGBA")) == 0


def test_the_alpha_channel_of_a_tiff_is_laid_over_black() -> None:
    encoded = packed(Image.fromarray(np.dstack([scene(), alpha()])), "TIFF")
    assert difference(encoded, scene() * (alpha()[..., None] / 255)) <= 1


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_of_sixteen_bits_the_upper_eight_are_kept(shape: tuple[int, ...]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    blue_first = deep if deep.ndim == 2 else deep[..., ::-1]
    encoded = cv2.imencode(".png", np.ascontiguousarray(blue_first))[1].tobytes()
    upper = (deep >> 8).astype(int)
    assert difference(encoded, upper if deep.ndim == 3 else np.repeat(upper[..., None], 3, axis=2)) == 0
    assert difference(encoded, np.atleast_3d(deep) / 257 * np.ones(3)) <= 1


def cmyk() -> np.ndarray:
    """(48, 64, 4) inks of the scene, with black ink that grows to the right."""
    return np.dstack([255 - scene(), alpha() // 2])


def test_a_cmyk_jpeg() -> None:
    inks = Image.fromarray(cmyk(), "CMYK")
    encoded = packed(inks, "JPEG", quality=100, subsampling=0)
    assert difference(encoded, np.asarray(inks.convert("RGB"))) <= 4


def test_a_ycck_jpeg() -> None:
    inks = cmyk()
    luma = np.asarray(Image.fromarray(inks[..., :3]).convert("YCbCr"))
    # Pillow stores inks inverted; the marker's last byte, 2, says that the three colours are luma and chroma.
    stored = Image.fromarray(np.dstack([255 - luma, inks[..., 3]]), "CMYK")
    encoded = bytearray(packed(stored, "JPEG", quality=100, subsampling=0))
    encoded[encoded.index(b"Adobe") + 11] = 2
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")).astype(int)
    assert np.abs(pillow(bytes(encoded)) - expected).max() <= 5
    assert difference(bytes(encoded), expected) <= 5


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0, "progressive": True}, 4),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("JPEG2000", {}, 0),
        ("WEBP", {"lossless": True}, 0),
    ],
)
def test_other_formats(kind: str, options: dict[str, Any], tolerance: int) -> None:
    assert difference(packed(Image.fromarray(scene()), kind, **options), scene()) <= tolerance


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("smooth", [False, True])
def test_no_format_gives_half_an_image(kind: str, smooth: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    encoded = packed(Image.fromarray(np.asarray(cv2.GaussianBlur(noise, (0, 0), 5)) if smooth else noise), kind)
    assert decode_image(encoded, place="photo 7").shape == (80, 80, 3)
    for share in (0.02, 0.3, 0.7, 0.97):
        with pytest.raises(DataError, match="photo 7: the image"):
            decode_image(encoded[: int(share * len(encoded))], place="photo 7")


def test_a_large_photo_is_not_held_twice() -> None:
    pixels = 3000 * 2000 * 3
    encoded = cv2.imencode(".png", np.zeros((3000, 2000, 3), np.uint8))[1].tobytes()
    tracemalloc.start()
    image = decode_image(encoded, place="photo 7")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.nbytes == pixels
    assert peak < 1.2 * pixels


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".bmp"])
def test_encoding_is_repeatable_and_keeps_the_colours(suffix: str) -> None:
    first = encode_image(scene(), suffix)
    assert isinstance(first, bytes)
    assert first == encode_image(scene().copy(), suffix)
    error = np.abs(decode_image(first, place="photo 7").astype(int) - scene())
    assert error.max() == 0 if suffix in (".png", ".bmp") else error.mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality(suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sizes = [len(encode_image(noise, suffix, quality)) for quality in (1, 40, 80, 95, 100)]
    assert sizes == sorted(set(sizes))
    assert len(encode_image(noise, suffix)) == sizes[3]
    for quality in (0, 101):
        with pytest.raises(UsageError, match=f"the quality is {quality}"):
            encode_image(noise, suffix, quality)


def test_quality_leaves_png_alone() -> None:
    assert encode_image(scene(), ".png", 10) == encode_image(scene(), ".png", 90)


def test_what_cannot_be_encoded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be encoded as \.xyz"):
        encode_image(scene(), ".xyz")
    with pytest.raises(DataError, match=r"cannot be encoded as \.webp"):
        encode_image(np.zeros((1, 16384, 3), np.uint8), ".webp")
    with pytest.raises(DataError, match="cannot be encoded"):
        write_image(tmp_path / "no suffix", scene())


def test_write_image_passes_the_quality_on(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", scene(), quality=30)
    assert (tmp_path / "a.jpg").read_bytes() == encode_image(scene(), ".jpg", 30)


def test_a_disk_that_cannot_be_written_to_keeps_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"(Not a directory|File exists)") as caught:
        write_image(tmp_path / "file" / "a.png", scene())
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_keeps_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_image(tmp_path / "a.png", scene())
    assert caught.value.errno == errno.ENOSPC


def test_image_names_are_sorted_and_skip_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "b/10.jpeg", ".cache/x.jpg", "a/.y.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = image_names(tmp_path)
    assert found == ["a/1.png", "b/10.jpeg", "b/2.JPG"]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_a_scan_counts_what_it_leaves_out(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.HEIC", "a/c.heic", "a/README", "a/x.tar.gz", "a/b/1.jpg", ".hidden.heic", "a/.git/config", "a.txt"
    )
    touch(tmp_path, "a.b/2.jpeg", "dotted.", "a/b.jpg/3.txt")
    assert scan_folder(tmp_path) == FolderScan(
        images=["a.b/2.jpeg", "a/b/1.jpg"],
        outside_links=[],
        ignored={"": 2, ".gz": 1, ".heic": 2, ".txt": 2},
    )
    assert list(scan_folder(tmp_path).ignored) == ["", ".gz", ".heic", ".txt"]


def test_the_order_is_that_of_the_whole_path(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a-b/1.jpg", "a.jpg", "aé/1.jpg", "B.jpg", "a/b/c.jpg", "a/b.jpg", "a/10.jpg", "a/2.jpg"]
    touch(tmp_path, *names)
    assert scan_folder(tmp_path).images == sorted(names)
    assert image_names(tmp_path) == sorted(names)


def test_suffixes_that_opencv_reads_and_no_others() -> None:
    assert {".jpg", ".png", ".tiff", ".gif"} < IMAGE_SUFFIXES
    assert ".avif" not in IMAGE_SUFFIXES


def test_links_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    photos, other = tmp_path / "photos", tmp_path / "photos-of-others"
    touch(photos, "a/1.jpg", ".store/blob", "notes.txt")
    touch(other, "people/2.jpg", "3.jpg", "4.txt")
    links = {
        "inside.jpg": "a/1.jpg",
        "stored.png": ".store/blob",
        "inside.heic": "a/1.jpg",
        "out.jpg": "../photos-of-others/3.jpg",  # the other folder's name begins with this one's
        "a/absolute.jpg": str(other / "3.jpg"),
        "out.txt": "../photos-of-others/4.txt",
        "broken.jpg": "nothing.jpg",
        "broken.txt": "nothing.txt",
        "myself.jpg": "myself.jpg",
        "people": str(other / "people"),
        "inside": "a",
        "a/circle": "..",
        "above": "../..",
    }
    for name, target in links.items():
        (photos / name).symlink_to(target)
    (photos / "twice.jpg").symlink_to(photos / "out.jpg")
    expected = FolderScan(
        images=["a/1.jpg", "inside.jpg", "stored.png"],
        outside_links=["a/absolute.jpg", "above", "broken.jpg", "myself.jpg", "out.jpg", "people", "twice.jpg"],
        ignored={".heic": 1, ".txt": 1},
    )
    assert scan_folder(photos) == expected
    (tmp_path / "door").symlink_to(photos)  # the folder itself may be named by a link
    assert scan_folder(tmp_path / "door") == expected
    # A data set may be a folder of links.
    found = image_names(tmp_path / "door")
    assert found == ["a/1.jpg", "a/absolute.jpg", "inside.jpg", "out.jpg", "stored.png", "twice.jpg"]


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"fa\xe7ade.jpg")
    try:
        (tmp_path / name).write_bytes(packed(Image.fromarray(scene()), "PNG"))
    except OSError:
        pytest.skip("this file system takes no such names")
    assert scan_folder(tmp_path).images == [name]
    assert read_image(tmp_path / image_names(tmp_path)[0]).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    assert stat.S_ISFIFO((tmp_path / "pipe.jpg").stat().st_mode)
    assert scan_folder(tmp_path) == FolderScan([], [], {})


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/locked/1.jpg")
    scandir = os.scandir

    def guarded(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=r"a/locked: the folder cannot be read \(Permission denied\)"):
        scan_folder(tmp_path)
    with pytest.raises(DataError, match=r"none: the folder cannot be read \(No such file"):
        scan_folder(tmp_path / "none")
