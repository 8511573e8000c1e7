"""Pictures, batches and the way back, with a network that is a Python function."""

from __future__ import annotations

import numpy as np
import pytest

from facedistill.align.detectors import Photo
from facedistill.align.detectors import single_shot as module
from facedistill.align.detectors.single_shot import Candidates, SingleShot


class Spots:
    """Sees a face around every white pixel: a box of 40 pixels around its middle, all landmarks there."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pictures: np.ndarray, threshold: float) -> Candidates:
        self.shapes.append(pictures.shape)
        picture, row, column = np.nonzero((pictures > 250).all(axis=-1))
        middles = np.stack([column, row], axis=1).astype(np.float32) + np.float32(0.5)
        boxes = np.concatenate([middles - 20, middles + 20], axis=1)
        scores = (1 - column / 10_000).astype(np.float32)
        return Candidates(boxes, scores, np.repeat(middles[:, None], 5, axis=1), picture)


def photo(shape: tuple[int, int], *spots: tuple[int, int], side: int = 1) -> Photo:
    """A grey photo with white squares at (x, y) of the upper left."""
    image = np.full((*shape, 3), 60, np.uint8)
    for x, y in spots:
        image[y : y + side, x : x + side] = 255
    return Photo("p.png", image)


def test_photos_of_mixed_sizes_keep_their_order_and_go_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", {"cpu": 2 * 64 * 96})
    spots = Spots()
    shot = SingleShot(spots, 32, 0.3, "cpu")
    photos = [photo((50, 90), (20 + index, 30)) for index in range(3)]
    photos[1:1] = [photo((33, 20), (7, 31)), photo((64, 96))]
    faces = shot.detect(photos, 0.5, min_face=20, lenient=False)
    # The picture of 64 x 96 is full, those of 50 x 90 are padded to the same size; two fit at once.
    assert sorted(spots.shapes) == [(1, 64, 32, 3), (2, 64, 96, 3), (2, 64, 96, 3)]
    assert [[tuple(points[0]) for points in found.landmarks] for found in faces] == [
        [(20, 30)], [(7, 31)], [], [(21, 30)], [(22, 30)],
    ]  # fmt: skip
    np.testing.assert_array_equal(faces[0].boxes, [[0.5, 10.5, 40.5, 50.5]])


def test_one_picture_at_once_where_the_network_takes_no_more() -> None:
    spots = Spots()
    SingleShot(spots, 32, 0.3, "cpu", batches=False).detect([photo((64, 64))] * 3, 0.5, min_face=20, lenient=False)
    assert spots.shapes == [(1, 64, 64, 3)] * 3


def test_a_larger_smallest_face_makes_smaller_pictures() -> None:
    """At 128 the photo is shrunk to a quarter: a white square of 4 pixels becomes one, its middle stays where it is."""
    spots = Spots()
    shot = SingleShot(spots, 32, 0.3, "cpu")
    (faces,) = shot.detect([photo((256, 400), (80, 120), side=4)], 0.5, min_face=128, lenient=False)
    assert spots.shapes == [(1, 64, 128, 3)]
    np.testing.assert_allclose(faces.landmarks, np.full((1, 5, 2), (81.5, 121.5)))
    np.testing.assert_allclose(faces.boxes, [[82 - 80, 122 - 80, 82 + 80, 122 + 80]])


def test_a_picture_of_one_size() -> None:
    spots = Spots()
    shot = SingleShot(spots, 64, 0.3, "cpu", size=(64, 96))
    found = shot.detect([photo((128, 192), (80, 60), side=2), photo((20, 30), (7, 8))], 0.5, min_face=20, lenient=False)
    assert spots.shapes == [(2, 64, 96, 3)]
    np.testing.assert_allclose(found[0].landmarks[0, 0], (80.5, 60.5))
    np.testing.assert_allclose(found[1].landmarks[0, 0], (7, 8))


def test_overlapping_faces_of_one_photo_are_one_and_those_of_two_photos_are_two() -> None:
    shot = SingleShot(Spots(), 32, 0.3, "cpu")
    photos = [photo((64, 96), (30, 30), (31, 30), (80, 30)), photo((64, 96), (31, 30))]
    first, second = shot.detect(photos, 0.5, min_face=20, lenient=False)
    assert [points[0, 0] for points in first.landmarks] == [30, 80]
    assert len(second) == 1


def test_the_number_of_faces_is_bounded() -> None:
    """Every pixel is a face: the best thousand of each photo go on, and the best stays the best."""
    white = Photo("p.png", np.full((200, 200, 3), 255, np.uint8))
    for faces in SingleShot(Spots(), 32, 0.3, "cpu").detect([white, white], 0.5, min_face=20, lenient=False):
        assert faces.landmarks[0, 0, 0] == 0
        assert len(faces) < 20


def test_answers_that_are_not_finite_are_no_faces() -> None:
    def look(pictures: np.ndarray, threshold: float) -> Candidates:
        boxes = np.array([[0, 0, 40, np.inf], [0, 0, np.nan, 40], [0, 0, 40, 40], [9, 0, 60, 40]], np.float32)
        landmarks = np.ones((4, 5, 2), np.float32)
        landmarks[2, 3, 1] = np.nan
        return Candidates(boxes, np.ones(4, np.float32), landmarks, np.zeros(4, np.intp))

    (faces,) = SingleShot(look, 32, 0.3, "cpu").detect([photo((64, 64))], 0.5, min_face=20, lenient=False)
    np.testing.assert_array_equal(faces.boxes, [[9, 0, 60, 40]])


def test_photos_of_any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PIXELS", 100_000)
    spots = Spots()
    shot = SingleShot(spots, 32, 0.3, "cpu")
    shapes = [(1, 1), (5, 3000), (1, 20_000), (20_000, 1), (600, 900)]
    faces = shot.detect([photo(shape) for shape in shapes], 0.5, min_face=20, lenient=True)
    assert [len(found) for found in faces] == [0] * 5
    assert sorted(spots.shapes) == [
        (1, 32, 32, 3), (1, 32, 3008, 3), (1, 32, 20_000, 3), (1, 288, 416, 3), (1, 20_000, 32, 3),
    ]  # fmt: skip
    assert shot.detect([], 0.5, min_face=None, lenient=False) == []
