from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.data.images import read_image
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.inspection import duplicates
from facedistill.inspection.contents import folder_contents
from facedistill.inspection.duplicates import candidate_pairs, exact_duplicates, near_duplicates
from facedistill.inspection.photo_hash import HASH_BYTES, VIEWS, fine_detail, same_picture_score
from facedistill.inspection.scan import scan_images

Image = npt.NDArray[np.uint8]
FIRST = "person_000000/0000.png"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of 30 made-up people, 3 of each: enough for hashes to be used; tests copy it."""
    folder = tmp_path_factory.mktemp("many")
    write_folder(SyntheticFaces(30, 3, size=64, seed=4), folder)
    return folder


def test_equal_files_and_equal_pixels(crops: Path, first_crop: Image) -> None:
    shutil.copy(crops / FIRST, crops / "person_000000" / "copy.png")
    shutil.copy(crops / "person_000001" / "0000.png", crops / "person_000002" / "copy.png")
    cv2.imwrite(str(crops / "person_000003" / "copy.bmp"), first_crop[..., ::-1])
    groups = exact_duplicates(scan_images(folder_contents(crops)))
    found = [(group.names, group.same_bytes, group.identities) for group in groups]
    assert found == [
        ((FIRST, "person_000000/copy.png", "person_000003/copy.bmp"), False, 2),
        (("person_000001/0000.png", "person_000002/copy.png"), True, 2),
    ]


def test_no_copies_among_made_up_people(faces: Path, many: Path) -> None:
    for folder in (faces, many):
        scan = scan_images(folder_contents(folder))
        assert exact_duplicates(scan) == []
        assert near_duplicates(scan) == ([], 0)


def moved(image: Image, matrix: list[list[float]]) -> Image:
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(image, np.array(matrix), size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "larger": lambda image: np.asarray(cv2.resize(image, (150, 150)), np.uint8),
    "smaller": lambda image: np.asarray(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA), np.uint8),
    "brighter": lambda image: np.clip(image.astype(int) + 30, 0, 255).astype(np.uint8),
    "shifted": lambda image: moved(image, [[1, 0, 1.7], [0, 1, 0]]),  # 3 pixels of a 112 crop
    "shifted back": lambda image: moved(image, [[1, 0, -1.7], [0, 1, 1.7]]),
    "enlarged": lambda image: moved(image, [[1.05, 0, -1.6], [0, 1.05, -1.6]]),
}


@pytest.mark.parametrize("many_images", [False, True])
@pytest.mark.parametrize("change", ["jpeg", *CHANGES])
def test_a_changed_copy_under_another_name_is_found(
    change: str, many_images: bool, crops: Path, many: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(many, tmp_path / "many")) if many_images else crops
    image = read_image(folder / FIRST)
    changed = CHANGES.get(change, np.asarray)(image)
    (folder / "zoe").mkdir()
    cv2.imwrite(str(folder / "zoe" / "x.jpg"), changed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    scan = scan_images(folder_contents(folder))
    assert exact_duplicates(scan) == []
    found, unchecked = near_duplicates(scan, workers=2)
    assert [(pair.first, pair.second) for pair in found] == [(FIRST, "zoe/x.jpg")]
    assert unchecked == 0


def test_a_changed_copy_of_the_same_person_is_no_matter(crops: Path, first_crop: Image) -> None:
    cv2.imwrite(str(crops / "person_000000" / "copy.jpg"), first_crop[..., ::-1])
    assert near_duplicates(scan_images(folder_contents(crops))) == ([], 0)


def test_candidates_are_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (300, len(VIEWS), HASH_BYTES), dtype=np.uint8)
    planted = [(3, 200, 1), (10, 11, 5), (250, 20, 9)]
    for original, copy, bits in planted:
        hashes[copy, 0] = hashes[original, 2]  # the copy looks as the original does in its view 2
        for bit in rng.permutation(128)[:bits]:
            hashes[copy, 0, bit // 8] ^= 1 << (bit % 8)
    labels = np.arange(300, dtype=np.int32)
    slow = set()
    for one in range(300):
        for other in range(300):
            for view in range(len(VIEWS)):
                differing = int(np.unpackbits(hashes[one, view] ^ hashes[other, 0]).sum())
                if one != other and differing <= duplicates._MOST_DIFFERENT_BITS:
                    slow.add((min(one, other), max(one, other)))
    assert slow == {(3, 200), (10, 11), (20, 250)}
    pairs = candidate_pairs(hashes, labels)
    assert [tuple(pair) for pair in pairs.tolist()] == [(3, 200), (10, 11), (20, 250)]  # the most similar first
    labels[11] = labels[10]
    assert len(candidate_pairs(hashes, labels)) == 2


def test_work_is_bounded_where_all_hashes_are_equal() -> None:
    hashes = np.zeros((500, len(VIEWS), HASH_BYTES), np.uint8)
    pairs = candidate_pairs(hashes, np.arange(500, dtype=np.int32))
    assert 0 < len(pairs) <= 500 * 2 * duplicates._NEIGHBOURS
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_what_is_too_much_to_compare_is_counted(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MOST_CHECKED", 5)
    scan = scan_images(folder_contents(crops))
    total = len(candidate_pairs(scan.hashes, scan.labels))
    assert near_duplicates(scan)[1] == total - 5


def test_the_score_of_copies_and_of_others(faces: Path) -> None:
    first, other = (fine_detail(read_image(faces / name)) for name in (FIRST, "person_000000/0001.png"))
    assert same_picture_score(first, first) == pytest.approx(1, abs=1e-5)
    assert same_picture_score(first, other) < duplicates.SAME_PICTURE
    assert same_picture_score(first, np.zeros_like(first)) <= 0


@pytest.mark.realdata
def test_a_picture_that_lfw_files_under_two_names(realdata: Path, tmp_path: Path) -> None:
    for name in ("Gabrielle_Rose", "Martha_Bowen", "John_Rowe", "John_Tyson", "Bill_Maher", "Chakib_Khelil"):
        shutil.copytree(realdata / "data" / "lfw" / "aligned" / name, tmp_path / name)
    found, _ = near_duplicates(scan_images(folder_contents(tmp_path)))
    assert [(pair.first, pair.second) for pair in found] == [
        ("Gabrielle_Rose/Gabrielle_Rose_0001.jpg", "Martha_Bowen/Martha_Bowen_0002.jpg")
    ]
