from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from facedistill.align.detectors import FaceDetector, Faces, Photo
from facedistill.align.find import ATTEMPTS, find_faces


class Picky:
    """Sees the dots only in pictures that fulfil its condition, and keeps account of what it was shown."""

    name = "picky"

    def __init__(
        self, dots: FaceDetector, condition: Callable[[tuple[int, ...], bool], bool], *, looks_again: bool = True
    ) -> None:
        self.settings = {"name": self.name}
        self.dots, self.condition, self.looks_again, self.seen = dots, condition, looks_again, []

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        self.seen.append([(photo.image.shape, lenient) for photo in photos])
        found = self.dots.detect(photos)
        return [
            faces if self.condition(photo.image.shape, lenient) else Faces.none()
            for photo, faces in zip(photos, found, strict=True)
        ]


CONDITIONS = {
    "plain": lambda shape, lenient: True,
    "padded": lambda shape, lenient: shape[0] > 100,
    "lenient": lambda shape, lenient: lenient,
    "enlarged": lambda shape, lenient: shape[0] > 400,
}
POINTS = np.array([(40, 30), (80, 32), (60, 50), (45, 70), (78, 71)], dtype=float)
SHAPES = [(100, 120, 3), (220, 240, 3), (220, 240, 3), (440, 480, 3)]


@pytest.mark.parametrize(("expected", "condition"), CONDITIONS.items())
def test_attempts_and_their_coordinates(
    draw_dots: Callable[..., np.ndarray], dot_detector: FaceDetector, expected: str, condition: Callable[..., bool]
) -> None:
    detector = Picky(dot_detector, condition)
    (sighting,) = find_faces([Photo("a", draw_dots(POINTS, (100, 120)))], detector)
    assert sighting.attempt == expected
    np.testing.assert_allclose(sighting.faces.landmarks[0], POINTS, atol=0.05)
    corners = np.concatenate([POINTS.min(axis=0), POINTS.max(axis=0)])
    np.testing.assert_allclose(sighting.faces.boxes[0], corners, atol=0.6)  # they count from the pixel's corner
    tries = ATTEMPTS.index(expected) + 1
    assert detector.seen == [[(SHAPES[index], index >= 2)] for index in range(tries)]


def test_only_those_without_a_face_are_looked_at_again(
    draw_dots: Callable[..., np.ndarray], dot_detector: FaceDetector
) -> None:
    photos = [
        Photo("seen", draw_dots(POINTS, (150, 130))),
        Photo("padded", draw_dots(POINTS, (100, 120))),
        Photo("nobody", np.zeros((90, 80, 3), np.uint8)),
    ]
    detector = Picky(dot_detector, lambda shape, lenient: shape[0] > 100)
    sightings = find_faces(photos, detector)
    assert [sighting.attempt for sighting in sightings] == ["plain", "padded", "enlarged"]
    assert [len(sighting.faces) for sighting in sightings] == [1, 1, 0]
    assert [len(shown) for shown in detector.seen] == [3, 2, 1, 1]
    np.testing.assert_allclose(sightings[1].faces.landmarks[0], POINTS, atol=0.05)


def test_a_large_photo_is_searched_again_as_a_smaller_picture(
    draw_dots: Callable[..., np.ndarray], dot_detector: FaceDetector
) -> None:
    detector = Picky(dot_detector, lambda shape, lenient: lenient)
    points = POINTS * 12
    (sighting,) = find_faces([Photo("a", draw_dots(points, (1500, 2000), radius=20))], detector)
    assert detector.seen[1:] == [[((1750, 2000, 3), False)], [((1750, 2000, 3), True)]]
    np.testing.assert_allclose(sighting.faces.landmarks[0], points, atol=0.2)


@pytest.mark.parametrize(("shape", "attempts"), [((100, 120, 3), 4), ((400, 600, 3), 3), ((1, 1, 3), 4)])
def test_no_face(dot_detector: FaceDetector, shape: tuple[int, ...], attempts: int) -> None:
    detector = Picky(dot_detector, lambda shape, lenient: True)
    (sighting,) = find_faces([Photo("a", np.zeros(shape, np.uint8))], detector)
    assert len(sighting.faces) == 0
    assert len(detector.seen) == attempts


def test_a_detector_that_need_not_look_again(dot_detector: FaceDetector) -> None:
    detector = Picky(dot_detector, lambda shape, lenient: True, looks_again=False)
    assert len(find_faces([Photo("a", np.zeros((50, 50, 3), np.uint8))], detector)[0].faces) == 0
    assert len(detector.seen) == 1
