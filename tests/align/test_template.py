from __future__ import annotations

import numpy as np
import pytest

from facedistill.align.template import LANDMARK_NAMES, template
from facedistill.errors import UsageError

PUBLISHED = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
# The x values of the older custom, 96 wide.
PUBLISHED_96_X = [30.2946, 65.5318, 48.0252, 33.5493, 62.7299]


def test_112_is_the_published_template() -> None:
    np.testing.assert_array_equal(template(), PUBLISHED)
    np.testing.assert_allclose(template(112)[:, 0] - 8, PUBLISHED_96_X, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "left_eye", "right_mouth"),
    [
        (112, (38.2946, 51.6963), (70.7299, 92.2041)),
        (128, (46.2946, 51.6963), (78.7299, 92.2041)),
        (224, (76.5892, 103.3926), (141.4598, 184.4082)),
        (256, (92.5892, 103.3926), (157.4598, 184.4082)),
        (56, (19.1473, 25.84815), (35.36495, 46.10205)),
        (160, (54.70657142857143, 73.85185714285714), (101.04271428571429, 131.72014285714286)),
    ],
)
def test_other_sizes(size: int, left_eye: tuple[float, float], right_mouth: tuple[float, float]) -> None:
    points = template(size)
    np.testing.assert_allclose(points[LANDMARK_NAMES.index("left_eye")], left_eye, atol=1e-9)
    np.testing.assert_allclose(points[LANDMARK_NAMES.index("right_mouth")], right_mouth, atol=1e-9)


def test_each_call_gives_a_fresh_array() -> None:
    template()[:] = 0
    np.testing.assert_array_equal(template(), PUBLISHED)


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="the crop size is 0, it must be 1 or more"):
        template(0)
