"""Whether five points can be the landmarks of a face in a photo: a crop made of wrong ones looks like any other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Narrowest cloud of points, as its width across over its length along; a face in full profile has about 0.2.
_NARROWEST = 0.02
# Multiple of the landmarks' median distance from their middle (a quarter of a face's side) that one may lie outside.
_FARTHEST = 4.0
# Share of the distance from eyes to mouth by which left and right may change places.
_SLIGHTLY_MIRRORED = 0.05
# Pixels between the farthest two points below which there is no face to speak of.
_SMALLEST = 1.0


def landmark_problem(landmarks: npt.ArrayLike, shape: tuple[int, ...]) -> str | None:
    """What is wrong with five landmarks, in words, or None.

    Args:
        landmarks: (5, 2) x and y in pixels, in the order of `template.LANDMARK_NAMES`.
        shape: (H, W, ...) of the photo.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if not np.isfinite(points).all():
        return "the landmarks are not finite numbers"
    middle = points.mean(axis=0)
    extent = points - middle
    reach = float(np.abs(extent).max())
    if 2 * reach < _SMALLEST:
        return "the landmarks coincide"
    along, across = np.linalg.svd(extent, compute_uv=False)
    if across < _NARROWEST * along:
        return "the landmarks lie on one line"
    size = np.array([shape[1], shape[0]])
    if ((middle < -0.5) | (middle > size - 0.5)).any():
        return "the landmarks lie outside the photo"
    # A face across the photo's edge may have some points out there, but no farther than a face is large.
    far = _FARTHEST * float(np.median(np.hypot(*(points - np.median(points, axis=0)).T)))
    if ((points < -far) | (points > size + far)).any():
        return "a landmark lies far outside the photo"
    left_eye, right_eye, _, left_mouth, right_mouth = points
    eyes, down = right_eye - left_eye, (left_mouth + right_mouth - left_eye - right_eye) / 2
    # In full profile the two sides fall together, and a pixel's error may exchange them.
    if eyes[0] * down[1] - eyes[1] * down[0] < -_SLIGHTLY_MIRRORED * float(down @ down):
        return "the landmarks are mirrored: left and right are exchanged"
    return None
