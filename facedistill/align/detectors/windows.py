"""Square windows of many photos, each averaged down or stretched to one small size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# The sum over a photo of more pixels may not fit an int32.
_MOST_PIXELS = (2**31 - 1) // 255


class Windows:
    """Cuts windows out of some photos, by their tables of running sums.

    A cell of a window is the exact mean of the photo over the cell's area, fractions of pixels included: what
    cv2.resize calls INTER_AREA, without a call for each window. The running sum over a whole photo is linear between
    pixel corners, so four look-ups and two subtractions give any cell of any window. What lies outside the photo is
    black.

    Args:
        images: (H, W, 3) uint8 each, of any sizes.
    """

    def __init__(self, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        # One flat table for all photos, so that windows of several photos are looked up together.
        self._sides = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        fits = (self._sides.prod(axis=1) <= _MOST_PIXELS).all()
        depth, dtype = (cv2.CV_32S, np.int32) if fits else (cv2.CV_64F, np.float64)
        self._widths = self._sides[:, 1] + 1
        ends = np.cumsum((self._sides + 1).prod(axis=1))
        self._offsets = np.concatenate([[0], ends])[:-1]
        self._sums = np.empty((int(ends[-1]) if len(ends) else 0, 3), dtype=dtype)
        for image, offset, end in zip(images, self._offsets, ends, strict=True):
            table = self._sums[offset:end].reshape(image.shape[0] + 1, image.shape[1] + 1, 3)
            cv2.integral(image, sum=table, sdepth=depth)

    def cut(self, boxes: Floats, photos: npt.NDArray[np.intp], size: int) -> Floats:
        """(N, size, size, 3) float32 means, 0 to 255, of N windows.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 in pixels of their photo, x2 > x1 and y2 > y1.
            photos: (N,) which photo each is cut from.
            size: cells along each side of a window.
        """
        steps = np.arange(size + 1) / size
        corners = boxes.astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        height, width = self._sides[photos].T[..., None]
        x = (corners[:, 0, None] + sides[:, 0, None] * steps).clip(0, width)
        y = (corners[:, 1, None] + sides[:, 1, None] * steps).clip(0, height)
        left, upper = x.astype(np.int64), y.astype(np.int64)
        right, lower = np.minimum(left + 1, width), np.minimum(upper + 1, height)
        rights = (x - left).astype(np.float32)[:, None, :, None]
        lowers = (y - upper).astype(np.float32)[:, :, None, None]
        rows = self._widths[photos, None]
        starts = self._offsets[photos, None]

        def strips(row: npt.NDArray[np.int64]) -> Floats:
            """Sums from the photo's top down to a row, over the width of each cell."""
            first = starts + row * rows
            sums = self._sums.take(first[:, :, None] + left[:, None], axis=0)
            rest = (self._sums.take(first[:, :, None] + right[:, None], axis=0) - sums).astype(np.float32)
            rest *= rights
            # Subtracted while they are whole numbers: a difference fits a float32 where a sum would not.
            strip: Floats = (sums[:, :, 1:] - sums[:, :, :-1]).astype(np.float32)
            strip += rest[:, :, 1:]
            strip -= rest[:, :, :-1]
            return strip

        sums, below = strips(upper), strips(lower)
        below -= sums
        below *= lowers
        sums += below
        cells = sums[:, 1:] - sums[:, :-1]
        cells *= (size * size / sides.prod(axis=1)).astype(np.float32)[:, None, None, None]
        return cells
