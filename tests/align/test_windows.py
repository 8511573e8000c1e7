from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.align.detectors import windows as windows_module
from facedistill.align.detectors.windows import Windows


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_cells_are_means_by_hand() -> None:
    """A window of 3 x 3 pixels in 2 x 2 cells: each cell is one and a half pixels wide."""
    image = np.zeros((3, 3, 3), np.uint8)
    image[..., 0] = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    cells = Windows([image]).cut(np.array([[0, 0, 3, 3]], np.float32), np.array([0]), 2)
    assert cells.shape == (1, 2, 2, 3)
    assert cells.dtype == np.float32
    upper_left = (10 + 20 / 2 + 40 / 2 + 50 / 4) / 2.25
    lower_right = (90 + 80 / 2 + 60 / 2 + 50 / 4) / 2.25
    np.testing.assert_allclose(cells[0, [0, 1], [0, 1], 0], [upper_left, lower_right], rtol=1e-6)
    assert not cells[..., 1:].any()


@pytest.mark.parametrize("depth", ["int32", "float64"])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 24, 48]))
def test_as_opencv_does_one_by_one(depth: str, seed: int, size: int) -> None:
    """Several photos of several sizes; windows larger and smaller than `size`, also such as are not square."""
    rng = np.random.default_rng(seed)
    images = [noise(seed + index, *rng.integers(30, 130, 2)) for index in range(3)]
    owners = rng.integers(0, 3, 6)
    boxes = []
    for owner in owners:
        height, width = images[owner].shape[:2]
        x, y = np.sort(rng.choice(width + 1, 2, replace=False)), np.sort(rng.choice(height + 1, 2, replace=False))
        boxes.append((x[0], y[0], x[1], y[1]))
    with pytest.MonkeyPatch.context() as patch:
        if depth == "float64":
            patch.setattr(windows_module, "_MOST_PIXELS", 10)
        table = Windows(images)
        cells = table.cut(np.array(boxes, np.float32), owners, size)
    for cell, owner, (x1, y1, x2, y2) in zip(cells, owners, boxes, strict=True):
        part = images[owner][y1:y2, x1:x2].astype(np.float64)
        if part.shape[0] >= size and part.shape[1] >= size:
            expected = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
        else:  # OpenCV averages only where both sides shrink; each pixel stands for `size` equal parts here
            fine = part.repeat(size, axis=0).repeat(size, axis=1)
            expected = fine.reshape(size, part.shape[0], size, part.shape[1], 3).mean(axis=(1, 3))
        np.testing.assert_allclose(cell, expected, atol=0.15)


def test_outside_is_black() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    cells = Windows([image]).cut(
        np.array([[-10, -10, 10, 10], [25, 15, 35, 25], [40, 40, 50, 50]], np.float32), np.zeros(3, int), 4
    )
    assert (cells[0, :2] == 0).all()
    assert (cells[0, :, :2] == 0).all()
    np.testing.assert_allclose(cells[0, 2:, 2:], 200, atol=0.01)
    np.testing.assert_allclose(cells[1, :2, :2], 200, atol=0.01)
    assert (cells[1, 2:] == 0).all()
    assert (cells[2] == 0).all()


def test_a_white_photo_of_many_pixels_stays_exact() -> None:
    """The sum over such a photo is 1.1 * 10^9; as float32 it would be off by hundreds."""
    image = np.full((2000, 2200, 3), 255, np.uint8)
    image[1990:1992, 2180:2182] = 0
    cells = Windows([image]).cut(np.array([[2170, 1980, 2194, 2004]], np.float32), np.array([0]), 24)
    expected = np.full((24, 24, 3), 255.0)
    expected[20:] = 0  # the photo ends at 2000
    expected[10:12, 10:12] = 0
    np.testing.assert_allclose(cells[0], expected, atol=0.6)


def test_no_windows() -> None:
    assert Windows([]).cut(np.zeros((0, 4), np.float32), np.zeros(0, np.intp), 24).shape == (0, 24, 24, 3)
