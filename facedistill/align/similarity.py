"""The similarity transform that carries five landmarks onto a template, and the crop that it gives."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

# Landmarks whose spread around their mean is below this many pixels say nothing about scale and rotation.
_SMALLEST_SPREAD = 1e-6


def estimate_similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The least-squares similarity transform (scale, rotation, shift; no reflection) from `source` to `target`.

    It minimises sum |scale R s_k + t - t_k|^2 over all points at once and drops none of them (Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", PAMI 1991). In two dimensions the solution is
    closed: with the points as complex numbers around their means, the factor is <source, target> / <source, source>.

    Args:
        source: (..., P, 2) points, P of 2 or more; the leading axes are batch axes.
        target: (P, 2) points, or one set for each source.

    Returns:
        (..., 2, 3) float64 matrices [scale R | t], as `warp` takes them.

    Raises:
        DataError: points are not finite, or all of one set coincide.
    """
    points = np.asarray(source, dtype=np.float64)
    goals = np.asarray(target, dtype=np.float64)
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] < 2 or goals.shape[-2:] != points.shape[-2:]:
        raise DataError(f"landmarks of shape {points.shape} cannot be matched with a template of shape {goals.shape}")
    if not (np.isfinite(points).all() and np.isfinite(goals).all()):
        raise DataError("the landmarks are not finite numbers")
    points_mean = points.mean(axis=-2, keepdims=True)
    goals_mean = goals.mean(axis=-2, keepdims=True)
    x, y = np.moveaxis(points - points_mean, -1, 0)
    u, v = np.moveaxis(goals - goals_mean, -1, 0)
    spread = (x * x + y * y).sum(axis=-1)
    if not (spread > _SMALLEST_SPREAD**2).all():
        raise DataError("the landmarks coincide, so no transform can be found from them")
    cosine = (x * u + y * v).sum(axis=-1) / spread
    sine = (x * v - y * u).sum(axis=-1) / spread
    linear = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    shift = goals_mean.swapaxes(-1, -2) - linear @ points_mean.swapaxes(-1, -2)
    return np.concatenate([linear, shift], axis=-1)


def transform_points(matrix: npt.ArrayLike, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Apply (..., 2, 3) `matrix` to (..., P, 2) `points`; float64 of the points' shape."""
    matrix = np.asarray(matrix, dtype=np.float64)
    moved = np.asarray(points, dtype=np.float64) @ matrix[..., :2].swapaxes(-1, -2)
    return np.asarray(moved + matrix[..., None, :, 2])


def warp(image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.uint8]:
    """Resample `image` into a square crop: bilinear, black outside the image.

    Where the transform shrinks by two or more, the image is first averaged down by a whole factor: bilinear sampling
    alone skips pixels there, and a crop of a large photo would be full of jagged edges.

    Args:
        image: (H, W, 3) uint8.
        matrix: (2, 3), from pixels of the image to pixels of the crop.
        size: height and width of the crop in pixels.

    Returns:
        (size, size, 3) uint8.
    """
    factor = int(1.0 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor >= 2:
        image, matrix = _shrink(image, matrix, factor)
    crop = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(crop, dtype=np.uint8)


def _shrink(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], factor: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The image averaged over blocks of `factor` pixels, and the matrix that takes the smaller image to the crop."""
    height, width = image.shape[:2]
    # A side that is no multiple of the factor is filled up, so that every block has the same size.
    bottom, right = -height % factor, -width % factor
    if bottom or right:
        image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    smaller = (image.shape[1] // factor, image.shape[0] // factor)
    small = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel i of the small image lies in the middle of its block: at factor * i + (factor - 1) / 2 of the large one.
    linear = matrix[:, :2]
    middle = np.full(2, (factor - 1) / 2)
    return small, np.column_stack([linear * factor, linear @ middle + matrix[:, 2]])
