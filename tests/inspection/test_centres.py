from __future__ import annotations

import numpy as np
import pytest

from facedistill.inspection import centres
from facedistill.inspection.centres import close_pairs, nearest_other, sums_of, unit


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centres, "_BLOCK", 7)
    monkeypatch.setattr(centres, "_ROWS", 5)


def test_pairs_within_are_those_of_a_slow_loop() -> None:
    some = vectors(40)
    slow = [
        (float(some[one] @ some[other]), one, other)
        for one in range(40)
        for other in range(one + 1, 40)
        if some[one] @ some[other] >= 0.5
    ]
    pairs, cosines, left = close_pairs(some, None, 0.5)
    assert len(slow) > 20
    assert [tuple(pair) for pair in pairs.tolist()] == [pair[1:] for pair in sorted(slow, key=lambda pair: -pair[0])]
    np.testing.assert_allclose(cosines, sorted((pair[0] for pair in slow), reverse=True), atol=1e-6)
    assert left == 0


def test_pairs_between_are_those_of_a_slow_loop() -> None:
    some, others = vectors(20), vectors(30, 1)
    pairs, _, _ = close_pairs(some, others, 0.6)
    slow = {(one, other) for one in range(20) for other in range(30) if some[one] @ others[other] >= 0.6}
    assert {tuple(pair) for pair in pairs.tolist()} == slow


def test_the_closest_are_kept_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    some = vectors(40)
    everything, cosines, _ = close_pairs(some, None, 0.3)
    monkeypatch.setattr(centres, "MOST_PAIRS", 10)
    pairs, kept, left = close_pairs(some, None, 0.3)
    np.testing.assert_array_equal(pairs, everything[:10])
    np.testing.assert_array_equal(kept, cosines[:10])
    assert left == len(everything) - 10


def test_the_nearest_other_is_that_of_a_slow_loop() -> None:
    some, others = vectors(25), vectors(30, 1)
    own = np.random.default_rng(2).integers(0, 30, 25)
    own[0] = int((others @ some[0]).argmax())  # the nearest of all is its own
    nearest, cosines = nearest_other(some, others, own)
    for row in range(25):
        best = max((label for label in range(30) if label != own[row]), key=lambda label: some[row] @ others[label])
        assert nearest[row] == best
        assert cosines[row] == pytest.approx(float(some[row] @ others[best]), abs=1e-6)


def test_sums_leave_out_what_belongs_to_nobody() -> None:
    some = np.arange(24, dtype=np.float32).reshape(12, 2)
    labels = np.array([0, 1, -1, 0, 2, 2, -1, 1, 1, 0, 0, 2])
    expected = np.zeros((4, 2))
    for row, label in zip(some, labels, strict=True):
        if label >= 0:
            expected[label] += row
    np.testing.assert_array_equal(sums_of(some, labels, 4), expected)
    np.testing.assert_array_equal(unit(np.zeros((1, 2), np.float32)), [[0, 0]])
