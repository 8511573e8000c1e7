"""Size, sharpness and yaw of a face, against numbers worked out by hand and known changes of made-up faces."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf
from skimage.data import astronaut

from facedistill.align.quality import NOSE_DEPTH, SHARPNESS_SMOOTHING, face_size, sharpness, yaw
from facedistill.align.template import template

angles = st.floats(-180, 180)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """A sharp face of 112 pixels."""
    return np.ascontiguousarray(astronaut()[40:152, 170:282])


def turned(degrees: float) -> np.ndarray:
    """Landmarks of a head turned by that much: eyes at -1 and 1, the nose in front of the plane they lie in."""
    angle = math.radians(degrees)
    x = [-math.cos(angle), math.cos(angle), 2 * NOSE_DEPTH * math.sin(angle), -0.7, 0.7]
    return np.column_stack([x, [0, 0, 1.1, 2, 2]])


def changed(points: np.ndarray, roll: float, scale: float) -> np.ndarray:
    cosine, sine = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return scale * points @ np.array([[cosine, sine], [-sine, cosine]]) + (31, -7)


def edge(sigma: float, contrast: float = 200) -> np.ndarray:
    """A vertical edge: a step blurred by a Gaussian of that many pixels."""
    profile = 30 + contrast * (1 + erf((np.arange(112) - 55.5) / (sigma * math.sqrt(2)))) / 2
    return np.repeat(np.tile(profile, (112, 1))[..., None], 3, axis=2).round().astype(np.uint8)


def test_face_size_is_the_side_of_an_equal_square() -> None:
    assert face_size((10, 20, 14, 29)) == 6.0  # 4 x 9
    assert face_size(np.array([-5, -5, 5, 5], dtype=np.float32)) == 10.0
    assert face_size((10, 10, 10, 30)) == 0.0
    assert face_size((10, 10, 5, 5)) == 0.0  # the product of two negative sides is no area


@pytest.mark.parametrize("degrees", [-75, -30, -5, 0, 12, 45, 80])
def test_yaw_of_a_turned_head(degrees: float) -> None:
    assert yaw(turned(degrees)) == pytest.approx(degrees, abs=1e-9)


def test_yaw_by_hand() -> None:
    # The nose is half the model's depth aside of eyes that are 40 apart: atan(1/2) = 26.565 degrees.
    points = [(30, 50), (70, 50), (50 + NOSE_DEPTH * 20, 70), (35, 90), (65, 90)]
    assert yaw(points) == pytest.approx(26.5651, abs=1e-4)
    assert abs(yaw(template())) < 1


@given(degrees=st.floats(-85, 85), roll=angles, scale=st.floats(0.1, 1000))
def test_yaw_knows_neither_roll_nor_scale_nor_shift(degrees: float, roll: float, scale: float) -> None:
    assert yaw(changed(turned(degrees), roll, scale)) == pytest.approx(degrees, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=5, max_size=5))
def test_yaw_of_a_mirrored_face_is_negated(points: list[tuple[float, float]]) -> None:
    face = np.array(points)
    mirrored = (face * (-1, 1) + (499, 0))[[1, 0, 2, 4, 3]]
    there, back = yaw(face), yaw(mirrored)
    # Eyes that nearly coincide give a line whose direction is lost in the shift by 499.
    if np.hypot(*(face[1] - face[0])) > 1e-3:
        assert there == pytest.approx(-back, abs=1e-3)


def test_yaw_of_landmarks_that_fix_no_line() -> None:
    assert math.isnan(yaw(np.full((5, 2), 7.0)))
    assert math.isnan(yaw([(5, 5), (5, 5), (9, 9), (4, 12), (6, 12)]))
    assert math.isnan(yaw([(math.nan, 5), (9, 5), (7, 9), (4, 12), (6, 12)]))
    assert math.isnan(yaw([(5, 5), (9, 5), (math.inf, 9), (4, 12), (6, 12)]))


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("contrast", [150, 220])
def test_sharpness_of_an_edge_of_known_width(sigma: float, contrast: float) -> None:
    width = math.hypot(sigma, SHARPNESS_SMOOTHING)  # two Gaussians one after the other
    assert sharpness(edge(sigma, contrast)) == pytest.approx(100 * SHARPNESS_SMOOTHING / width, rel=0.04)


def test_a_perfect_step_has_about_100() -> None:
    assert sharpness(edge(0.01)) == pytest.approx(100, rel=0.08)


def test_sharpness_falls_with_every_blur(crop: np.ndarray) -> None:
    figures = [sharpness(crop)]
    figures += [sharpness(np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma))) for sigma in (0.5, 1, 1.5, 2, 3, 4, 6, 8)]
    assert figures == sorted(figures, reverse=True)
    assert figures[0] > 60
    assert figures[4] < 50


def test_sharpness_falls_with_enlarging(crop: np.ndarray) -> None:
    def enlarged(side: int) -> np.ndarray:
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR))

    figures = [sharpness(crop), *(sharpness(enlarged(side)) for side in (80, 56, 40, 28, 20, 14))]
    assert figures == sorted(figures, reverse=True)


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0), (0.5, 100), (0.8, 20)])
def test_contrast_and_brightness_hardly_matter(crop: np.ndarray, factor: float, shift: float) -> None:
    dull = (1 + crop * factor + shift).astype(np.uint8)
    assert sharpness(dull) == pytest.approx(sharpness(crop), rel=0.1)


def test_noise_does_not_make_a_blurred_crop_sharp(crop: np.ndarray) -> None:
    blurred = cv2.GaussianBlur(crop, (0, 0), 3)
    noise = np.random.default_rng(0).normal(0, 3, crop.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert sharpness(noisy) < 0.7 * sharpness(crop)


@pytest.mark.parametrize("size", [96, 128, 160, 224])
def test_the_size_of_the_crop_hardly_matters(size: int) -> None:
    photo = astronaut()[40:488, 0:448]
    at_112 = cv2.resize(photo, (112, 112), interpolation=cv2.INTER_AREA)
    other = np.asarray(cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA))
    assert sharpness(other) == pytest.approx(sharpness(np.asarray(at_112)), rel=0.2)


def test_the_border_of_the_photo_is_no_edge(crop: np.ndarray) -> None:
    blurred = np.array(cv2.GaussianBlur(crop, (0, 0), 4)).clip(5)
    cut = blurred.copy()
    cut[:, :30] = 0
    assert sharpness(cut) == pytest.approx(sharpness(blurred), rel=0.15)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("size", [1, 20, 112, 130])
def test_an_even_crop_has_no_sharpness(level: int, size: int) -> None:
    assert sharpness(np.full((size, size, 3), level, dtype=np.uint8)) == pytest.approx(0, abs=0.01)
