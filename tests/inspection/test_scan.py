from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from facedistill.errors import DataError, UsageError
from facedistill.inspection import scan as module
from facedistill.inspection.contents import NO_IDENTITY, folder_contents
from facedistill.inspection.scan import COLOURS, scan_images


def test_the_facts_of_made_up_crops(faces: Path) -> None:
    scan = scan_images(folder_contents(faces))
    assert (len(scan), len(scan.identities)) == (48, 8)
    assert scan.identities[0] == "person_000000"
    np.testing.assert_array_equal(scan.labels, np.repeat(np.arange(8), 6))
    np.testing.assert_array_equal(scan.sizes, np.full((48, 2), 64))
    assert len(set(scan.byte_digests.tolist())) == len(set(scan.pixel_digests.tolist())) == 48
    assert scan.hashed.all()
    assert scan.unreadable == ()


def test_broken_files_are_listed_with_their_reason(crops: Path) -> None:
    whole = sorted(crops.rglob("*.png"))[0].read_bytes()
    (crops / "a").mkdir()
    (crops / "a" / "empty.jpg").write_bytes(b"")
    (crops / "a" / "half.png").write_bytes(whole[: len(whole) // 2])
    (crops / "a" / "text.jpg").write_text("no image")
    scan = scan_images(folder_contents(crops))
    assert [name for name, _ in scan.unreadable] == ["a/empty.jpg", "a/half.png", "a/text.jpg"]
    reasons = [reason for _, reason in scan.unreadable]
    assert "zero bytes" in reasons[0]
    assert "truncated" in reasons[1]
    assert "corrupt" in reasons[2]
    assert len(scan) == 48
    assert scan.identities == tuple(f"person_{person:06d}" for person in range(8))  # nothing in a can be read
    assert [scan.identities[label] for label in scan.labels] == [name.split("/")[0] for name in scan.names]
    np.testing.assert_array_equal(scan.indices, np.arange(3, 51))  # in what was scanned


def test_kinds_of_grey(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    (tmp_path / "p").mkdir()
    Pillow.fromarray(levels).save(tmp_path / "p" / "a.png")
    Pillow.fromarray(levels).save(tmp_path / "p" / "b.jpg")
    Pillow.fromarray(levels).convert("RGB").save(tmp_path / "p" / "c.jpg")
    Pillow.fromarray(np.stack([levels, levels.T.reshape(40, 30), levels], axis=2)).save(tmp_path / "p" / "d.png")
    scan = scan_images(folder_contents(tmp_path))
    kinds = [COLOURS[index] for index in scan.colours]
    assert kinds == ["single channel", "single channel", "grey stored as RGB", "colour"]
    np.testing.assert_array_equal(scan.sizes, [[30, 40]] * 4)


def test_other_files_links_and_images_outside(crops: Path, tmp_path: Path, plant: Callable[..., None]) -> None:
    plant("stray.png", np.zeros((20, 20, 3), np.uint8))
    plant("deep/er/x.png", np.full((20, 20, 3), 9, np.uint8))
    (crops / "a.HEIC").write_bytes(b"x")
    (crops / "list.txt").write_text("x")
    (crops / "README").write_text("x")
    (crops / ".hidden.txt").write_text("x")
    (tmp_path / "elsewhere.png").write_bytes(b"x")
    (crops / "link.png").symlink_to(tmp_path / "elsewhere.png")
    contents = folder_contents(crops)
    assert contents.other_files == {".heic": 1, ".txt": 1, "no suffix": 1}
    assert contents.outside_links == ("link.png",)
    scan = scan_images(contents)
    assert scan.labels[scan.names.index("stray.png")] == NO_IDENTITY
    assert scan.identities[scan.labels[scan.names.index("deep/er/x.png")]] == "deep/er"
    assert not scan.hashed[scan.names.index("stray.png")]  # a blank picture has nothing to hash


def test_workers_change_nothing(faces: Path) -> None:
    contents = folder_contents(faces)
    one, three = scan_images(contents, workers=1), scan_images(contents, workers=3)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(three, name))


def test_progress_reaches_the_end(faces: Path) -> None:
    calls: list[tuple[int, int]] = []
    scan_images(folder_contents(faces), progress=lambda *call: calls.append(call))
    assert calls[-1] == (48, 48)


def test_no_folder_to_scan(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        scan_images(folder_contents(tmp_path / "nowhere"))
    (tmp_path / "file.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="this is a file"):
        scan_images(folder_contents(tmp_path / "file.jpg"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no images\. Images are"):
        scan_images(folder_contents(tmp_path / "empty"))
    (tmp_path / "empty" / "a.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"only other files \(1 .heic\)"):
        scan_images(folder_contents(tmp_path / "empty"))


def test_a_folder_of_links_only(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "links" / "p").mkdir(parents=True)
    (tmp_path / "links" / "p" / "a.png").symlink_to(crops / "person_000000" / "0000.png")
    with pytest.raises(
        DataError, match=r"no images; 1 symbolic link leads out of it and is not followed, such as p/a\.p"
    ):
        scan_images(folder_contents(tmp_path / "links"))
    (tmp_path / "links" / "q").symlink_to(crops / "person_000000")
    with pytest.raises(DataError, match=r"; 2 symbolic links lead out.* Copy the images themselves into it"):
        scan_images(folder_contents(tmp_path / "links"))


def test_a_folder_of_broken_files_only(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"the one image is not whole: p/a\.jpg: the image is corrupt"):
        scan_images(folder_contents(tmp_path))
    (tmp_path / "p" / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 2 images is whole: p/a\.jpg: the image is corrupt"):
        scan_images(folder_contents(tmp_path))


def test_images_too_large_for_the_memory_are_listed(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(crops / "person_000000" / "wide.png"), np.zeros((8, 300, 3), np.uint8))
    cv2.imwrite(str(crops / "person_000000" / "tall.png"), np.zeros((300, 8, 3), np.uint8))
    spectra = module.spectra

    def fail(image: np.ndarray, *views: tuple[tuple[int, int]]) -> np.ndarray | None:
        if image.shape[0] == 8:
            raise MemoryError
        if image.shape[0] == 300:
            cv2.resize(image, (0, 0))  # raises cv2.error
        return spectra(image, *views)

    monkeypatch.setattr(module, "spectra", fail)
    scan = scan_images(folder_contents(crops))
    assert len(scan) == 48
    (tall, why_tall), (wide, why_wide) = scan.unreadable
    assert (tall, wide) == ("person_000000/tall.png", "person_000000/wide.png")
    assert why_tall.startswith("the image is too large (")
    assert why_wide == "the image is too large (out of memory)"


def test_a_tiny_and_a_wide_image(crops: Path) -> None:
    cv2.imwrite(str(crops / "person_000000" / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(crops / "person_000000" / "strip.png"), np.arange(9000, dtype=np.uint8).reshape(1, 3000, 3))
    scan = scan_images(folder_contents(crops))
    assert (len(scan), scan.unreadable) == (50, ())
