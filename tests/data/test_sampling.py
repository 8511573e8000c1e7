from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.data.sampling import epoch_generator, identity_batches, shuffled_batches
from facedistill.errors import DataError


@given(count=st.integers(1, 60), size=st.integers(2, 20), seed=st.integers(0, 99))
def test_shuffled_batches_hold_each_image_at_most_once(count: int, size: int, seed: int) -> None:
    batches = shuffled_batches(count, size, epoch_generator(seed, 0))
    drawn = np.concatenate(batches)
    assert len(set(drawn.tolist())) == len(drawn)
    assert len(drawn) == (count if count < size else count - count % size)
    assert all(len(batch) == min(size, count) for batch in batches)


@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=30).filter(lambda counts: max(counts) > 1),
    per_identity=st.integers(2, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_identity_batches_hold_whole_groups(counts: list[int], per_identity: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    everything = identity_batches(labels, len(labels), per_identity, epoch_generator(seed, 0))
    assert len(everything) == 1
    order = everything[0]
    assert sorted(order.tolist()) == list(range(len(labels)))
    # Every identity with two images has a neighbour of its own in the order, unless it is left over from a group.
    for label, count in enumerate(counts):
        places = np.flatnonzero(labels[order] == label)
        lonely = sum(1 for place in places if place - 1 not in places and place + 1 not in places)
        assert lonely <= (1 if count % per_identity == 1 else 0)


def test_full_groups_give_p_times_k() -> None:
    labels = np.repeat(np.arange(8), 4)
    for batch in identity_batches(labels, 16, 4, epoch_generator(0, 0)):
        assert np.unique(labels[batch], return_counts=True)[1].tolist() == [4, 4, 4, 4]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = shuffled_batches(50, 10, epoch_generator(1, 2))
    assert all(
        np.array_equal(a, b) for a, b in zip(first, shuffled_batches(50, 10, epoch_generator(1, 2)), strict=True)
    )
    assert not np.array_equal(first[0], shuffled_batches(50, 10, epoch_generator(1, 3))[0])
    assert not np.array_equal(first[0], shuffled_batches(50, 10, epoch_generator(2, 2))[0])


def test_identities_with_one_image_each_are_refused() -> None:
    with pytest.raises(DataError, match="no identity has two images"):
        identity_batches(np.arange(5), 4, 2, epoch_generator(0, 0))
