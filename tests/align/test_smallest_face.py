from __future__ import annotations

import numpy as np
import pytest

from facedistill.align.detectors.smallest_face import check_min_face, smallest_face
from facedistill.errors import UsageError


@pytest.mark.parametrize(
    ("shape", "min_face", "lenient", "side"),
    [((250, 250), None, False, 25), ((250, 600), None, True, 20), ((900, 600), None, False, 60),
     ((900, 600), None, True, 30), ((90, 60), 12, True, 12)],
)  # fmt: skip
def test_the_smallest_face(shape: tuple[int, int], min_face: int | None, lenient: bool, side: float) -> None:
    assert smallest_face(np.zeros((*shape, 3), np.uint8), min_face, lenient=lenient) == pytest.approx(side)


def test_a_face_that_no_detector_sees() -> None:
    check_min_face(None, 12, "MTCNN")
    check_min_face(12, 12, "MTCNN")
    with pytest.raises(UsageError, match=r"the smallest face is 11 pixels, MTCNN sees none below 12\. 20 is usual"):
        check_min_face(11, 12, "MTCNN")
