from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from facedistill.errors import ModelFileError
from facedistill.export.precision.ranges import measure_ranges

from .made_networks import made_network

NETWORK = made_network(
    [helper.make_node("Neg", ["input"], ["x"], name="neg"), helper.make_node("Flatten", ["x"], ["embedding"])], {}
)


def test_ranges_of_a_long_tail() -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(40, 3, 16, 16)).astype(np.float32)
    images[3, 0, 0, 0] = -50  # one value of 30720 far out
    found = measure_ranges(NETWORK, ["x"], images)
    assert list(found) == ["min-max", "entropy", "percentile"]
    assert found["min-max"]["x"] == (pytest.approx(-images.max()), 50)
    for method in ("entropy", "percentile"):
        low, high = found[method]["x"]
        assert -6 < low < -2
        assert 2 < high < 40
    low, high = found["percentile"]["x"]
    # A bin is 100 / 512 wide.
    assert (low, high) == pytest.approx(np.percentile(-images, [0.005, 99.995]), abs=0.4)


def test_zero_is_always_held() -> None:
    images = np.full((2, 3, 16, 16), -3, dtype=np.float32)
    assert measure_ranges(NETWORK, ["x"], images, ["min-max"]) == {"min-max": {"x": (0.0, 3.0)}}


def test_a_tensor_that_is_always_zero() -> None:
    found = measure_ranges(NETWORK, ["x"], np.zeros((2, 3, 16, 16), dtype=np.float32))
    assert all(np.isfinite(ranges["x"]).all() for ranges in found.values())


def test_numbers_that_are_not_finite() -> None:
    images = np.full((2, 3, 16, 16), np.inf, dtype=np.float32)
    with pytest.raises(ModelFileError, match=r"values that are not finite \(x\)"):
        measure_ranges(NETWORK, ["x"], images)
