from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facedistill.align.detectors.suppression import best_of_each, suppress


def overlap(a: np.ndarray, b: np.ndarray, against_smaller: bool) -> float:
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return shared / (min(areas) if against_smaller else sum(areas) - shared)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.integers(1, 5),
    st.sampled_from([0.3, 0.5, 0.7]),
    st.booleans(),
)
def test_against_a_slow_loop(seed: int, count: int, groups: int, threshold: float, against_smaller: bool) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores = rng.integers(0, 8, count).astype(np.float32)  # with ties
    group = rng.integers(0, groups, count)
    expected: list[int] = []
    for label in range(groups):
        kept: list[int] = []
        for index in sorted(np.flatnonzero(group == label), key=lambda index: (-scores[index], -index)):
            if all(overlap(boxes[index], boxes[other], against_smaller) <= threshold for other in kept):
                kept.append(int(index))
        expected += kept
    assert suppress(boxes, scores, threshold, groups=group, against_smaller=against_smaller).tolist() == expected


def test_one_group_by_hand() -> None:
    """The second box overlaps the first by 81 of 119 (0.68); the third lies inside it (a quarter of the union)."""
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [2, 2, 7, 7]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress(boxes, scores, 0.6).tolist() == [0, 2]
    assert suppress(boxes, scores, 0.7).tolist() == [0, 1, 2]
    assert suppress(boxes, scores, 0.7, against_smaller=True).tolist() == [0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(1, 4), st.integers(1, 5))
def test_the_best_of_each_group(seed: int, count: int, groups: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    scores, group = rng.integers(0, 6, count).astype(np.float32), rng.integers(0, groups, count)
    expected = [
        int(index)
        for label in range(groups)
        for index in sorted(np.flatnonzero(group == label), key=lambda index: -scores[index])[:most]
    ]
    assert best_of_each(scores, group, most).tolist() == expected
