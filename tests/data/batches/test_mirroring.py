from __future__ import annotations

import numpy as np

from facedistill.data.batches.mirroring import mirror_flags


def test_every_second_copy_is_turned_round() -> None:
    mirrored = np.array([True, False, True])
    flags = mirror_flags(np.array([1, 0, 1, 2, 1, 0, 1]), mirrored)
    # Image 1 in order: as drawn, turned, as drawn, turned.
    assert flags.tolist() == [False, True, True, True, False, False, True]


def test_without_copies_it_is_as_drawn() -> None:
    mirrored = np.random.default_rng(0).random(50) < 0.5
    indices = np.random.default_rng(1).permutation(50)[:20]
    assert np.array_equal(mirror_flags(indices, mirrored), mirrored[indices])
