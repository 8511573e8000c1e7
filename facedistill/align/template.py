"""Where the five landmarks of a face lie in an aligned crop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.errors import UsageError

TEMPLATE_NAME = "arcface"
"""What the template is called in a report: the one that the ArcFace family of models was trained on."""

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""The order of the five landmarks everywhere; left and right are sides of the image, not of the person."""

_BASE_SIZE = 112
_BASE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
# Crops whose side is a multiple of 128 follow another custom: the 112 wide face stands in the middle of a 128 wide
# frame, with its upper edge kept.
_WIDE_SIZE = 128
_WIDE_SHIFT = 8.0


def template(size: int = _BASE_SIZE) -> npt.NDArray[np.float64]:
    """The ArcFace five-point template for square crops of `size` pixels.

    For 112 these are the published coordinates. A multiple of 128 shifts them by 8 pixels to the right and scales by
    size / 128; every other size scales by size / 112. Source: the alignment code of the ArcFace authors.

    Args:
        size: height and width of the crop in pixels, 1 or more.

    Returns:
        (5, 2) float64, x and y in pixels, in the order of `LANDMARK_NAMES`.

    Raises:
        UsageError: the size is below 1.
    """
    if size < 1:
        raise UsageError(f"the crop size is {size}, it must be 1 or more", next_step="112 is the usual size")
    points = np.array(_BASE, dtype=np.float64)
    if size % _WIDE_SIZE == 0:
        points[:, 0] += _WIDE_SHIFT
        return points * (size / _WIDE_SIZE)
    return points * (size / _BASE_SIZE)
