"""How small a face is looked for: by one rule for every detector, so that none costs more the larger the photo is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.errors import UsageError

SMALLEST_FACE = 20
"""Side in pixels of the smallest face that is looked for (the MTCNN authors' demo)."""
SMALLEST_FACE_SHARE = 0.1
"""... but no smaller than this share of the image's shorter side (ours): the cost no longer grows with the photo."""


def smallest_face(image: npt.NDArray[np.uint8], min_face: int | None, *, lenient: bool) -> float:
    """Side in pixels of the smallest face to look for in a photo.

    Args:
        image: (H, W, 3).
        min_face: the side itself; None for a tenth of the shorter side, at least 20 pixels.
        lenient: halve that tenth.
    """
    if min_face is not None:
        return float(min_face)
    share = SMALLEST_FACE_SHARE / 2 if lenient else SMALLEST_FACE_SHARE
    return max(float(SMALLEST_FACE), share * float(min(image.shape[:2])))


def check_min_face(min_face: int | None, least: int, detector: str) -> None:
    """UsageError where a smaller face is asked for than the detector sees."""
    if min_face is not None and min_face < least:
        raise UsageError(
            f"the smallest face is {min_face} pixels, {detector} sees none below {least}", next_step="20 is usual"
        )
