from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.align.detectors import Faces, Photo
from facedistill.align.template import template
from facedistill.errors import DataError, UsageError
from facedistill.two_photos.find_face import find_face
from facedistill.two_photos.picture import check_picture_path, draw_faces


class Planted:
    """Sees the faces that it was told of, in every photo."""

    name = "planted"
    looks_again = False

    def __init__(self, *places: tuple[float, float, float]) -> None:
        self.places = places  # x, y, side

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        boxes = np.array([(x, y, x + side, y + side) for x, y, side in self.places], dtype=np.float32).reshape(-1, 4)
        landmarks = [template(112) * (side / 112) + (x, y) for x, y, side in self.places]
        scores = np.full(len(boxes), 0.9, dtype=np.float32)
        return [Faces(boxes, scores, np.array(landmarks, dtype=np.float32).reshape(-1, 5, 2)) for _ in photos]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path / "a.png"


def test_the_main_face_becomes_a_crop(photo: Path) -> None:
    found = find_face(photo, Planted((10, 10, 40), (100, 64, 112)), 112)
    assert found.box.tolist() == [100, 64, 212, 176]
    assert (found.others, found.score) == (1, pytest.approx(0.9))
    assert np.abs(found.crop.astype(int) - found.photo[64:176, 100:212]).max() <= 1


def test_a_photo_without_a_face(photo: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: no face is found"):
        find_face(photo, Planted(), 112)


def test_photos_of_any_shape_are_drawn(photo: Path, tmp_path: Path) -> None:
    tall = tmp_path / "b.png"
    cv2.imwrite(str(tall), np.zeros((900, 30, 3), dtype=np.uint8))
    faces = [find_face(path, Planted((3, 20, 24)), 112) for path in (photo, tall)]
    draw_faces(faces, tmp_path / "new" / "d.png")
    drawn = cv2.imread(str(tmp_path / "new" / "d.png"))
    assert drawn.shape[0] >= 480 + 112
    box = drawn[:480, : faces[0].photo.shape[1] * 2][:, :, ::-1]
    assert (np.abs(box.astype(int) - (64, 220, 90)).sum(axis=2) < 12).sum() > 100, "the box of the first photo"


def test_an_unknown_kind_of_picture() -> None:
    with pytest.raises(UsageError, match=r"cannot be written as '\.pdf'"):
        check_picture_path(Path("a.pdf"))
