from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.align.detectors import DETECTORS, Photo
from facedistill.align.template import template
from facedistill.data.image_files import ImageFiles
from facedistill.data.images import read_image, write_image
from facedistill.data.synthetic import SyntheticFaces
from facedistill.inspection.alignment import check_alignment, find_landmarks, judge

Points = npt.NDArray[np.float64]
ALIGNED, OTHER, NOT_ALIGNED = "aligned to the ArcFace template", "aligned, but to something else", "not aligned"


def turn(degrees: float, scale: float = 1.0) -> Points:
    angle = np.radians(degrees)
    return scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def judged(landmarks: Points) -> Any:
    targets = np.broadcast_to(template(), landmarks.shape)
    return judge(landmarks, targets, detector="made", sampled=len(landmarks))


def test_landmarks_of_the_template_with_pose() -> None:
    rng = np.random.default_rng(0)
    landmarks = np.repeat(template()[None], 50, axis=0) + rng.normal(0, 0.7, (50, 5, 2))
    landmarks[:, 2, 0] += rng.normal(0, 4, 50)  # turned heads move the tip of the nose
    check = judged(landmarks)
    assert check.verdict == ALIGNED
    assert check.error_median > 1.0
    assert check.offset < 0.5


def test_a_common_shift_scale_and_turn_are_measured() -> None:
    middle = template().mean(axis=0)
    moved = (template() - middle) @ turn(4, 0.8) + middle + (3, -5)
    check = judged(np.repeat(moved[None], 20, axis=0))
    assert check.verdict == OTHER
    assert (check.scale, check.rotation, *check.shift) == pytest.approx((0.8, 4.0, 3.0, -5.0), abs=1e-6)
    assert check.spread_p90 == pytest.approx(0, abs=1e-6)
    assert check.error_median == pytest.approx(np.linalg.norm(moved - template(), axis=1).mean(), abs=1e-3)


def test_the_spread_is_that_of_faces_as_large_as_the_template() -> None:
    """Small faces in large photos stray by few pixels of the photo, and that is much for a face."""
    rng = np.random.default_rng(1)
    shifts = rng.normal(0, 3, (100, 1, 2))
    middle = template().mean(axis=0)
    large = judged(template() + shifts)
    small = judged((template() + shifts - middle) * 0.25 + middle)
    assert small.spread_p90 == pytest.approx(large.spread_p90, abs=0.01)
    assert small.verdict == large.verdict == NOT_ALIGNED
    assert large.spread_p90 == pytest.approx(np.percentile(np.linalg.norm(shifts, axis=2), 90), rel=0.1)


@pytest.mark.parametrize(("seen", "sampled"), [(0, 20), (4, 4), (9, 20)])
def test_too_few_faces_say_nothing(seen: int, sampled: int) -> None:
    landmarks = np.repeat(template()[None], seen, axis=0).reshape(-1, 5, 2)
    check = judge(landmarks, landmarks, detector="made", sampled=sampled)
    assert check.verdict == "not known"
    assert check.unseen_share == pytest.approx(1 - seen / sampled)


@pytest.mark.parametrize("size", [112, 128, 224])
def test_the_template_is_that_of_the_size(size: int, tmp_path: Path, share_detector: Callable[..., Any]) -> None:
    names = [f"{index}.png" for index in range(6)]
    for name in names:
        write_image(tmp_path / name, np.full((size, size, 3), 100, np.uint8))
    detector = share_detector(dict.fromkeys(names, template(size)))
    check = check_alignment(ImageFiles(tmp_path, tuple(names)), detector)
    assert (check.verdict, check.seen) == (ALIGNED, 6)
    assert check.error_median == pytest.approx(0, abs=0.01)


def test_a_crop_without_a_face_is_looked_at_again(share_detector: Callable[..., Any]) -> None:
    photos = [Photo(name, np.zeros((112, 112, 3), np.uint8)) for name in "abc"]
    detector = share_detector({"a": template(), "b": None, "c": template()})
    found = find_landmarks(photos, detector)
    assert [points is None for points in found] == [False, True, False]
    assert detector.asked == [(3, False), (1, True)]


def test_a_detector_that_knows_the_names_gets_the_images_as_they_are(share_detector: Callable[..., Any]) -> None:
    detector = share_detector({"a": template() - 28})  # 28: what the stand-in adds for padding that is not there
    detector.looks_again = False
    (found,) = find_landmarks([Photo("a", np.zeros((112, 112, 3), np.uint8))], detector)
    np.testing.assert_allclose(found, template(), atol=1e-4)
    assert detector.asked == [(1, False)]


def test_the_sample_is_bounded_and_the_same_each_time(tmp_path: Path, share_detector: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    names = [f"{index:03d}.png" for index in range(40)]
    for name in names:
        write_image(tmp_path / name, np.zeros((112, 112, 3), np.uint8))
    detector = share_detector({name: template() + rng.normal(0, 3, 2) for name in names})
    done: list[int] = []
    one = check_alignment(
        ImageFiles(tmp_path, tuple(names)), detector, sample=20, progress=lambda one, count: done.append(one)
    )
    assert one.sampled == 20
    assert done[-1] == 20
    assert check_alignment(ImageFiles(tmp_path, tuple(names)), detector, sample=20) == one
    assert check_alignment(ImageFiles(tmp_path, tuple(names)), detector, sample=20, seed=1) != one


@pytest.fixture(scope="module")
def lfw(realdata: Path) -> Callable[[str], list[Path]]:
    def sample(name: str) -> list[Path]:
        paths = sorted((realdata / "data" / "lfw" / name).glob("*/*_0001.jpg"))
        return [paths[index] for index in np.random.default_rng(2).permutation(len(paths))[:25]]

    return sample


def verdict(paths: list[Path], folder: Path, change: Callable[[npt.NDArray[np.uint8]], Any] | None = None) -> str:
    folder.mkdir()
    for path in paths:
        if change is None:
            shutil.copy(path, folder / path.name)
        else:
            write_image(folder / path.name, np.ascontiguousarray(change(read_image(path))))
    return check_alignment(ImageFiles(folder, tuple(path.name for path in paths)), DETECTORS["mtcnn"]()).verdict


@pytest.mark.realdata
def test_verdicts_on_lfw(lfw: Callable[[str], list[Path]], tmp_path: Path) -> None:
    crops = lfw("aligned")
    rng = np.random.default_rng(0)

    def turned(image: npt.NDArray[np.uint8]) -> Any:
        matrix = cv2.getRotationMatrix2D((55.5, 55.5), rng.normal(0, 8), 1)
        return cv2.warpAffine(image, matrix, (112, 112))

    assert verdict(crops, tmp_path / "a") == ALIGNED
    assert verdict(crops, tmp_path / "b", lambda image: cv2.resize(image, (64, 64))) == ALIGNED
    assert verdict(crops, tmp_path / "c", lambda image: image[:, 8:104]) == OTHER
    assert verdict(crops, tmp_path / "d", lambda image: cv2.copyMakeBorder(image, 12, 12, 12, 12, 1)) == OTHER
    assert verdict(crops, tmp_path / "e", turned) == NOT_ALIGNED
    assert verdict(lfw("raw"), tmp_path / "f") == NOT_ALIGNED


def test_verdicts_on_made_up_faces(tmp_path: Path) -> None:
    people = SyntheticFaces(12, 1, difficulty=0.3)
    for index in range(len(people)):
        write_image(tmp_path / f"crop{index}.png", people.image(index))
        write_image(tmp_path / f"photo{index}.png", people.photo(index).image)
    detector = DETECTORS["mtcnn"]()
    crops = check_alignment(ImageFiles(tmp_path, tuple(f"crop{index}.png" for index in range(12))), detector)
    photos = check_alignment(ImageFiles(tmp_path, tuple(f"photo{index}.png" for index in range(12))), detector)
    assert crops.verdict != NOT_ALIGNED, crops
    assert photos.verdict == NOT_ALIGNED, photos
