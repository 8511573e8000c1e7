"""How usable one face is: its size in the photo, how sharp its crop is, and how far it is turned away."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

NOSE_DEPTH = 0.55
"""How far the tip of the nose stands in front of the eyes, in distances between the eyes.

Ours, measured on 697 LFW photos with the landmarks of MTCNN. A turn by an angle shortens the distance between the eyes
by its cosine, while that from the eyes to the mouth stays: (mouth / eyes)^2 = c (1 + (offset / depth)^2). The
least-squares fit gives 0.565 (90 % interval 0.53 to 0.60), the median of slopes 0.533.
"""

SHARPNESS_SIZE = 112
"""Side in pixels at which sharpness is measured, whatever the crop's size (ours)."""
SHARPNESS_SMOOTHING = 0.8
"""Standard deviation in pixels of the Gaussian that keeps noise from counting as sharpness (ours: of 0.5 to 1.0 the
one that told LFW crops best from their blurred copies under changing contrast and noise)."""

_MARGIN = 11  # pixels on each side that do not count: a tenth, mostly background
_FLAT = 0.1  # squared grey levels a pixel: a slope this weak is rounding, not an edge


def face_size(box: npt.ArrayLike) -> float:
    """Side in pixels of the square that is as large as the box x1, y1, x2, y2; 0 for an empty or inverted box."""
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    return math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0))


def yaw(landmarks: npt.ArrayLike) -> float:
    """How far a face is turned to the side, in degrees between -90 and 90: an estimate from five points.

    The nose is moved along the line through the eyes by sin(yaw) `NOSE_DEPTH`, the eyes come nearer to one another by
    cos(yaw), so tan(yaw) = offset / (distance of the eyes * `NOSE_DEPTH`). Neither roll nor scale matters.

    Args:
        landmarks: (5, 2) x and y in pixels, y downwards, in the order of `template.LANDMARK_NAMES`.

    Returns:
        0 where the nose is in the middle, positive where it points to the image's right; nan where the landmarks are
        not finite or the eyes coincide, which fixes no line to measure along.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    left_eye, right_eye, nose = points[:3]
    between = right_eye - left_eye
    distance = float(np.hypot(*between))
    if not np.isfinite(points).all() or distance == 0:
        return math.nan
    offset = float((nose - (left_eye + right_eye) / 2) @ (between / distance))
    return math.degrees(math.atan2(offset, NOSE_DEPTH * distance))


def sharpness(crop: npt.NDArray[np.uint8]) -> float:
    """How sharp an aligned crop is: 100 where its edges are perfect steps, less the more they are blurred.

    For an edge that is a step blurred by a Gaussian of sigma pixels, the energy of the Laplacian is 1 / (2 sigma^2)
    of that of the gradient, whatever the edge's contrast. This ratio over the whole face gives a mean sigma, and the
    figure is 100 `SHARPNESS_SMOOTHING` / sigma. A plain variance of the Laplacian grows with contrast and noise too.

    Args:
        crop: (S, S, 3) uint8 RGB of any side; pixels that are black (outside the photo) and those beside them do not
            count.

    Returns:
        0 for a crop without edges; most crops of sharp photos have 60 to 100, a Gaussian blur of 2 pixels at 112
        leaves about 43 and one of 4 about 25. Pure noise exceeds 100.
    """
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    if grey.shape != (SHARPNESS_SIZE, SHARPNESS_SIZE):
        shrinks = min(grey.shape) > SHARPNESS_SIZE
        grey = np.asarray(
            cv2.resize(
                grey, (SHARPNESS_SIZE, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            )
        )
    smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), SHARPNESS_SMOOTHING))
    inside = np.s_[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)[inside]
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)[inside]
    curvature = cv2.Laplacian(smooth, cv2.CV_32F, ksize=1)[inside]
    # The border between photo and black surround would be the sharpest edge of all.
    counts = cv2.erode((grey > 0).astype(np.uint8), np.ones((9, 9), np.uint8))[inside] > 0
    if not counts.any():
        return 0.0
    slopes = float((slope_x[counts] ** 2 + slope_y[counts] ** 2).mean())
    curvatures = float((curvature[counts] ** 2).mean())
    return 100 * SHARPNESS_SMOOTHING * math.sqrt(2 * curvatures / (slopes + _FLAT))
