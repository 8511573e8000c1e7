from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from facedistill.align.detectors import FaceDetector, Faces
from facedistill.align.find import find_main_face, main_face


def faces_of(boxes: list[tuple[float, float, float, float]]) -> Faces:
    count = len(boxes)
    landmarks = np.arange(count, dtype=np.float32)[:, None, None] + np.zeros((1, 5, 2), np.float32)
    return Faces(np.array(boxes, np.float32), np.linspace(0.9, 0.8, count, dtype=np.float32), landmarks)


# In a photo of 200 x 300 pixels (centre 150, 100); the figure of merit is area - 2 distance^2.
CHOICES = {
    "the larger of two equally far": ([(110, 60, 150, 100), (140, 90, 190, 140)], 1),
    "the central one of two equally large": ([(0, 0, 40, 40), (130, 80, 170, 120)], 1),
    "a small central one before a larger one at the rim": ([(0, 50, 90, 140), (120, 70, 180, 130)], 1),  # -2925, 3600
    "a much larger one beside the centre": ([(10, 10, 150, 150), (130, 80, 170, 120)], 0),  # 9900, 1600
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice_of_the_main_face(case: str) -> None:
    boxes, best = CHOICES[case]
    face = main_face(faces_of(boxes), (200, 300, 3))
    np.testing.assert_array_equal(face.box, boxes[best])
    np.testing.assert_array_equal(face.landmarks, np.full((5, 2), best))
    assert face.score == pytest.approx((0.9, 0.8)[best])
    assert face.faces == 2


class Picky:
    """Sees the dots only in pictures that fulfil its condition, and keeps account of what it was shown."""

    name = "picky"

    def __init__(self, dots: FaceDetector, condition: Callable[[tuple[int, ...], bool], bool]) -> None:
        self.settings = {"name": self.name}
        self.dots, self.condition, self.seen = dots, condition, []

    def detect(self, image: np.ndarray, *, lenient: bool = False) -> Faces:
        self.seen.append((image.shape, lenient))
        return self.dots.detect(image) if self.condition(image.shape, lenient) else Faces.none()


CONDITIONS = {
    "plain": lambda shape, lenient: True,
    "padded": lambda shape, lenient: shape[0] > 100,
    "lenient": lambda shape, lenient: lenient,
    "enlarged": lambda shape, lenient: shape[0] > 400,
}
POINTS = np.array([(40, 30), (80, 32), (60, 50), (45, 70), (78, 71)], dtype=float)


@pytest.mark.parametrize(("expected", "condition"), CONDITIONS.items())
def test_attempts_and_their_coordinates(
    draw_dots: Callable[..., np.ndarray], dot_detector: FaceDetector, expected: str, condition: Callable[..., bool]
) -> None:
    detector = Picky(dot_detector, condition)
    face = find_main_face(draw_dots(POINTS, (100, 120)), detector)
    assert face is not None
    assert face.attempt == expected
    assert len(detector.seen) == ["plain", "padded", "lenient", "enlarged"].index(expected) + 1
    np.testing.assert_allclose(face.landmarks, POINTS, atol=0.05)
    shapes = [(100, 120, 3), (220, 240, 3), (220, 240, 3), (440, 480, 3)]
    assert detector.seen == [(shapes[index], index >= 2) for index in range(len(detector.seen))]


def test_a_large_photo_is_searched_again_as_a_smaller_picture(
    draw_dots: Callable[..., np.ndarray], dot_detector: FaceDetector
) -> None:
    detector = Picky(dot_detector, lambda shape, lenient: lenient)
    points = POINTS * 12
    face = find_main_face(draw_dots(points, (1500, 2000), radius=20), detector)
    assert face is not None
    assert detector.seen[1:] == [((1750, 2000, 3), False), ((1750, 2000, 3), True)]
    np.testing.assert_allclose(face.landmarks, points, atol=0.2)


@pytest.mark.parametrize(("shape", "attempts"), [((100, 120, 3), 4), ((400, 600, 3), 3), ((1, 1, 3), 4)])
def test_no_face(dot_detector: FaceDetector, shape: tuple[int, ...], attempts: int) -> None:
    detector = Picky(dot_detector, lambda shape, lenient: True)
    assert find_main_face(np.zeros(shape, np.uint8), detector) is None
    assert len(detector.seen) == attempts
