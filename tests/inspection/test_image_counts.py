from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facedistill.inspection.histogram_plot import choose_bins
from facedistill.inspection.image_counts import image_counts


def test_quantiles_by_hand() -> None:
    # Images per identity: 1, 2, 3, 4, 10 and one image of nobody.
    labels = np.array([-1] + [0] + [1] * 2 + [2] * 3 + [5] * 4 + [6] * 10)
    counts = image_counts(labels)
    assert counts is not None
    assert counts.quantiles == {
        "min": 1, "5 %": 1.2, "25 %": 2, "median": 3, "75 %": 4, "95 %": 8.8, "max": 10,
    }  # fmt: skip
    assert counts.identities == {1: 1, 2: 1, 3: 1, 4: 1, 10: 1}
    assert counts.singles == 1
    assert counts.to_dict()["identities_with"] == {"1": 1, "2": 1, "3": 1, "4": 1, "10": 1}


def test_images_of_nobody_only() -> None:
    assert image_counts(np.array([-1, -1])) is None


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_bins_hold_every_count_once(least: int, spread: int) -> None:
    bins = choose_bins(least, least + spread)
    assert 1 <= len(bins) <= 20
    assert bins[0].start <= least < bins[0].stop
    assert bins[-1].start <= least + spread < bins[-1].stop
    assert all(one.stop == other.start for one, other in pairwise(bins))


def test_the_kinds_of_bins() -> None:
    assert [len(some) for some in choose_bins(1, 14)] == [1] * 14
    assert [(some.start, some.stop - 1) for some in choose_bins(1, 40)] == [
        (1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64),
    ]  # fmt: skip
    assert {len(some) for some in choose_bins(60, 139)} == {4}
