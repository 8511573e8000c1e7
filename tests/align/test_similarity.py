from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from facedistill.align.similarity import estimate_similarity, transform_points, warp
from facedistill.align.template import template
from facedistill.errors import DataError

Draw = Callable[..., np.ndarray]
Find = Callable[[np.ndarray], np.ndarray | None]

seeds = st.integers(0, 2**32 - 1)


def similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def skimage_estimate(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    if hasattr(SimilarityTransform, "from_estimate"):  # 0.26 and later
        return np.asarray(SimilarityTransform.from_estimate(source, target).params[:2])
    transform = SimilarityTransform()
    assert transform.estimate(source, target)
    return np.asarray(transform.params[:2])


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = template() * rng.uniform(0.5, 4) + rng.uniform(-50, 300, 2) + rng.normal(0, 5, (5, 2))
    np.testing.assert_allclose(
        estimate_similarity(source, template()), skimage_estimate(source, template()), rtol=1e-9, atol=1e-9
    )


@given(seeds, st.integers(2, 9))
def test_agrees_with_scikit_image_on_any_points(seed: int, count: int) -> None:
    """Which in two dimensions never mirrors either: its singular value decomposition turns the sign round."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 40, (2, count, 2)) + rng.uniform(-500, 500, (2, 1, 2))
    ours = estimate_similarity(source, target)
    np.testing.assert_allclose(ours, skimage_estimate(source, target), rtol=1e-9, atol=1e-9)
    assert np.linalg.det(ours[:, :2]) >= 0
    mirrored = estimate_similarity(source * (-1, 1), target)
    assert np.linalg.det(mirrored[:, :2]) >= 0


@given(seeds)
def test_solves_the_least_squares_problem(seed: int) -> None:
    """The same problem as a linear system in a, b, tx, ty, given to a general solver."""
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 40, (5, 2)), rng.normal(0, 40, (5, 2))
    rows, sides = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        sides += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)[0]
    np.testing.assert_allclose(estimate_similarity(source, target), [[a, -b, tx], [b, a, ty]], rtol=1e-6, atol=1e-6)


@given(
    st.floats(0.01, 100),
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
)
def test_recovers_a_known_similarity(scale: float, angle: float, shift: tuple[float, float]) -> None:
    known = similarity(scale, angle, shift)
    moved = transform_points(known, template())
    np.testing.assert_allclose(estimate_similarity(template(), moved), known, atol=1e-8 * max(1, scale) * 1000)


@given(seeds)
def test_is_equivariant(seed: int) -> None:
    """Moving the source by a similarity changes the answer by its inverse; the aligned points stay where they were."""
    rng = np.random.default_rng(seed)
    source = template() + rng.normal(0, 4, (5, 2))
    moved = transform_points(
        similarity(rng.uniform(0.2, 5), rng.uniform(-3, 3), tuple(rng.uniform(-99, 99, 2))), source
    )
    aligned = transform_points(estimate_similarity(source, template()), source)
    again = transform_points(estimate_similarity(moved, template()), moved)
    np.testing.assert_allclose(again, aligned, atol=1e-8)


@given(seeds)
def test_the_order_of_the_points_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, order = template() + rng.normal(0, 4, (5, 2)), rng.permutation(5)
    np.testing.assert_allclose(
        estimate_similarity(source[order], template()[order]), estimate_similarity(source, template()), atol=1e-9
    )


def test_a_batch_is_each_one_alone() -> None:
    rng = np.random.default_rng(0)
    sources = template() + rng.normal(0, 5, (2, 3, 5, 2))
    batch = estimate_similarity(sources, template())
    assert batch.shape == (2, 3, 2, 3)
    assert batch.dtype == np.float64
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(batch[index], estimate_similarity(sources[index], template()))


def test_never_mirrors() -> None:
    """A mirrored face would be matched exactly by a reflection; a rotation and a scale cannot."""
    mirrored = template() * (-1, 1)
    matrix = estimate_similarity(mirrored, template())
    assert np.linalg.det(matrix[:, :2]) > 0
    assert np.abs(transform_points(matrix, mirrored) - template()).max() > 5


def test_uses_every_landmark() -> None:
    """A robust estimator would drop the outlier and map the other four exactly."""
    source = template()
    source[2] += 30
    matrix = estimate_similarity(source, template())
    assert np.abs(transform_points(matrix, source) - template())[[0, 1, 3, 4]].max() > 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_landmarks_that_are_not_finite(value: float) -> None:
    source = template()
    source[3, 1] = value
    with pytest.raises(DataError, match="the landmarks are not finite numbers"):
        estimate_similarity(source, template())


def test_landmarks_that_coincide() -> None:
    sources = np.stack([template(), np.full((5, 2), 17.0)])
    with pytest.raises(DataError, match="the landmarks coincide"):
        estimate_similarity(sources, template())


@pytest.mark.parametrize("shape", [(2,), (4, 2), (5, 3), (1, 2)])
def test_landmarks_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="cannot be matched with a template of shape"):
        estimate_similarity(np.ones(shape), template())


@pytest.mark.parametrize("size", [112, 128, 224])
@pytest.mark.parametrize("seed", range(4))
def test_crop_contract(draw_dots: Draw, find_dots: Find, seed: int, size: int) -> None:
    """Dots drawn at the landmarks of a photo lie on the template in the crop."""
    rng = np.random.default_rng(seed)
    scale, angle = rng.uniform(1.0, 2.5), rng.uniform(-0.6, 0.6)
    landmarks = transform_points(similarity(scale, angle, (0, 0)), template() - 56) + rng.uniform(180, 220, 2)
    photo = draw_dots(landmarks, (400, 420), radius=3 * scale)
    crop = warp(photo, estimate_similarity(landmarks, template(size)), size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    dots = find_dots(crop)
    assert dots is not None
    assert np.abs(dots - template(size)).max() < 0.2


def test_warp_is_bilinear_sampling_with_a_black_border() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    np.testing.assert_array_equal(warp(image, similarity(1, 0, (0, 0)), 10), image[:10, :10])
    shifted = warp(image, similarity(1, 0, (3, 2)), 12)
    np.testing.assert_array_equal(shifted[2:, 3:], image[:10, :9])
    assert not shifted[:2].any()
    assert not shifted[:, :3].any()
    half = warp(image, similarity(1, 0, (0.5, 0)), 10).astype(int)
    np.testing.assert_allclose(half[:, 1:], (image[:10, :9].astype(int) + image[:10, 1:10]) / 2, atol=1)


def test_warp_averages_where_it_shrinks() -> None:
    """Stripes of one pixel must become grey; sampling alone would show black or white stripes."""
    stripes = np.zeros((401, 399, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    matrix = similarity(0.25, 0.1, (0, 0))
    crop = warp(stripes, matrix, 60)[10:-10, 10:-10].astype(int)
    assert np.abs(crop - 127).max() < 20
    sampled = cv2.warpAffine(stripes, matrix, (60, 60))[10:-10, 10:-10].astype(int)
    assert np.abs(sampled - 127).max() > 60


@pytest.mark.parametrize("scale", [0.51, 0.5, 0.4, 1 / 3, 0.2])
def test_shrinking_keeps_the_place(draw_dots: Draw, find_dots: Find, scale: float) -> None:
    landmarks = template() / scale + 15
    photo = draw_dots(landmarks, (round(112 / scale) + 31, round(112 / scale) + 33), radius=3 / scale)
    dots = find_dots(warp(photo, estimate_similarity(landmarks, template()), 112))
    assert dots is not None
    assert np.abs(dots - template()).max() < 0.1


def soft_noise(seed: int, height: int, width: int) -> np.ndarray:
    """A picture without fine detail, so that sampling it twice blurs nothing away."""
    coarse = np.random.default_rng(seed).uniform(20, 235, (height // 12, width // 12, 3))
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(
    seeds,
    st.floats(-np.pi, np.pi),
    st.floats(0.7, 1.9),
    st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
    st.sampled_from([96, 112, 128, 160, 224]),
)
def test_a_photo_that_was_turned_scaled_and_moved_gives_the_same_crop(
    seed: int, angle: float, scale: float, shift: tuple[float, float], size: int
) -> None:
    photo = soft_noise(seed, 360, 360)
    landmarks = template() + 124 + np.random.default_rng(seed).normal(0, 2, (5, 2))
    # About the photo's middle, so that the face stays in the picture.
    change = similarity(scale, angle, (0, 0))
    change[:, 2] = np.array([450, 450]) + shift - change[:, :2] @ np.array([180, 180])
    changed = np.asarray(cv2.warpAffine(photo, change, (900, 900), flags=cv2.INTER_CUBIC), np.uint8)
    before = warp(photo, estimate_similarity(landmarks, template(size)), size)
    after = warp(changed, estimate_similarity(transform_points(change, landmarks), template(size)), size)
    difference = np.abs(before.astype(int) - after.astype(int))
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) < 8
