from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.images import read_image
from facedistill.inspection.centres import unit
from facedistill.inspection.contents import folder_contents
from facedistill.inspection.overlap import shared_people, shared_pictures
from facedistill.inspection.scan import Scan, scan_images

Image = npt.NDArray[np.uint8]
FIRST = "person_000000/0000.png"


def test_pictures_of_every_likeness(crops: Path, first_crop: Image, tmp_path: Path) -> None:
    bench = tmp_path / "bench" / "somebody"
    bench.mkdir(parents=True)
    shutil.copy(crops / "person_000001" / "0002.png", bench / "bytes.png")
    cv2.imwrite(str(bench / "pixels.bmp"), first_crop[..., ::-1])
    third = read_image(crops / "person_000005" / "0003.png")
    cv2.imwrite(str(bench / "version.jpg"), third[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    (bench / "broken.jpg").write_bytes(b"")
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(bench / f"{number}.png"), noise)
    scan = scan_images(folder_contents(crops))
    other = scan_images(folder_contents(tmp_path / "bench"), medians=scan.medians)
    pictures, unchecked = shared_pictures(scan, other, workers=2)
    assert [(picture.name, picture.other, picture.likeness) for picture in pictures] == [
        ("person_000001/0002.png", "somebody/bytes.png", "the same bytes"),
        (FIRST, "somebody/pixels.bmp", "the same pixels"),
        ("person_000005/0003.png", "somebody/version.jpg", "one picture in two versions"),
    ]
    assert unchecked == 0


def test_nothing_is_shared_with_other_people(plant: Callable[..., None], crops: Path) -> None:
    for path in sorted(crops.rglob("*.png"))[:24]:
        path.unlink()
    scan = scan_images(folder_contents(crops))
    shutil.rmtree(crops)
    plant("x/y.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    other = scan_images(folder_contents(crops), medians=scan.medians)
    assert shared_pictures(scan, other) == ([], 0)


def scan_of(folder: Path, names: list[str]) -> Scan:
    """A scan of blank images, for what looks at names and labels only."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    return scan_images(folder_contents(folder))


def test_people_in_both(tmp_path: Path) -> None:
    """Along axes: data p00 to p29, benchmark q00 = axis 3, q01 = axis 40 and, of nobody, a.png = axis 5."""
    scan = scan_of(tmp_path / "data", [f"p{number:02d}/{image}.png" for number in range(30) for image in "ab"])
    other = scan_of(tmp_path / "bench", ["a.png", "q00/a.png", "q01/a.png"])
    assert other.names == ("a.png", "q00/a.png", "q01/a.png")
    axes = np.eye(50, dtype=np.float32)
    embeddings = axes[scan.labels]
    embeddings[7] = unit(axes[3:4] + axes[45:46])[0]  # p03's second image is at 45 degrees to the first
    found = shared_people(embeddings, scan, axes[[5, 3, 40]], other)
    assert found is not None
    people, _ = found
    assert [(person.kind, person.name, person.other) for person in people] == [
        ("identity", "p05", "a.png"),
        ("identity", "p03", "q00"),
    ]
    np.testing.assert_allclose([person.cosine for person in people], [1, np.cos(np.pi / 8)], atol=1e-6)


def test_images_of_nobody_are_looked_for_one_by_one(tmp_path: Path) -> None:
    scan = scan_of(tmp_path / "data", [f"{number:02d}.png" for number in range(25)])
    other = scan_of(tmp_path / "bench", ["q/a.png", "q/b.png"])
    axes = np.eye(50, dtype=np.float32)
    found = shared_people(axes[:25], scan, axes[[8, 8]], other)
    assert found is not None
    assert [(person.kind, person.name, person.other) for person in found[0]] == [("image", "08.png", "q")]


def test_too_few_people_say_nothing(tmp_path: Path) -> None:
    scan = scan_of(tmp_path / "data", [f"{number:02d}.png" for number in range(19)])
    axes = np.eye(50, dtype=np.float32)
    assert shared_people(axes[:19], scan, axes[:19], scan) is None
    many = scan_of(tmp_path / "many", [f"{number:02d}.png" for number in range(20)])
    assert shared_people(axes[:19], scan, axes[30:], many) is not None  # the benchmark's own people say it
