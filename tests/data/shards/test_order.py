from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.shards.order import shard_order
from facedistill.errors import UsageError

SIZES = st.lists(st.integers(0, 12), max_size=12)


def shards_of(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


@given(SIZES, st.integers(0, 2**31), st.integers(0, 100), st.integers(1, 5), st.integers(1, 4))
def test_ranks_are_disjoint_equal_and_complete(
    sizes: list[int], seed: int, epoch: int, ranks: int, window: int
) -> None:
    shards = shards_of(sizes)
    orders = [
        shard_order(shards, seed=seed, epoch=epoch, rank=rank, ranks=ranks, buffer_shards=window)
        for rank in range(ranks)
    ]
    assert all(order.dtype == np.int64 and len(order) == len(shards) // ranks for order in orders)
    together = np.concatenate(orders)
    assert len(np.unique(together)) == len(together) == len(shards) - len(shards) % ranks
    assert not len(together) or 0 <= together.min() <= together.max() < len(shards)
    for rank, order in enumerate(orders):
        again = shard_order(shards, seed=seed, epoch=epoch, rank=rank, ranks=ranks, buffer_shards=window)
        assert np.array_equal(order, again)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(0, 99), st.integers(1, 3), st.integers(1, 4))
def test_few_shards_are_read_at_a_time(sizes: list[int], seed: int, ranks: int, window: int) -> None:
    """Each rank's order falls into runs of `window` shards; a shard that is left does not come back."""
    shards = shards_of(sizes)
    touched = []
    for rank in range(ranks):
        visited = shards[shard_order(shards, seed=seed, epoch=0, rank=rank, ranks=ranks, buffer_shards=window)]
        first = {shard: int(np.argmax(visited == shard)) for shard in np.unique(visited).tolist()}
        last = {shard: int(np.flatnonzero(visited == shard)[-1]) for shard in first}
        for place in range(len(visited)):
            assert sum(first[shard] <= place <= last[shard] for shard in first) <= window
        touched.append(set(first))
    shared = sum(len(inside) for inside in touched) - len(set().union(*touched))
    assert shared <= ranks - 1, "ranks share the shards at their cuts alone"


def test_epochs_and_seeds_differ_and_shards_are_mixed() -> None:
    shards = np.repeat(np.arange(20), 50)
    first = shard_order(shards, seed=1, epoch=0)
    assert not np.array_equal(first, shard_order(shards, seed=1, epoch=1))
    assert not np.array_equal(first, shard_order(shards, seed=2, epoch=0))
    visited = shards[first]
    # 8 shards of 50 images: the first 400 images are of 8 shards, and any 50 of them of about 8.
    assert len(set(visited[:400].tolist())) == 8
    assert len(set(visited[:50].tolist())) >= 6
    assert len(set(visited[400:800].tolist()) & set(visited[:400].tolist())) == 0
    assert visited[:400].tolist() != sorted(visited[:400].tolist())


def test_the_images_left_out_differ_from_epoch_to_epoch() -> None:
    shards = np.repeat(np.arange(3), 5)
    left = set()
    for epoch in range(200):
        used = [shard_order(shards, seed=0, epoch=epoch, rank=rank, ranks=7) for rank in range(7)]
        left |= set(range(15)) - set(np.concatenate(used).tolist())
    assert left == set(range(15))


def test_the_numbers_of_shards_need_not_be_dense() -> None:
    order = shard_order(np.array([7, 7, 100, -3]), seed=0, epoch=0, buffer_shards=1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert abs(order.tolist().index(0) - order.tolist().index(1)) == 1


def test_wrong_calls() -> None:
    shards = np.zeros(3, dtype=np.int64)
    for rank, ranks in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(UsageError, match="there is no rank"):
            shard_order(shards, seed=0, epoch=0, rank=rank, ranks=ranks)
    with pytest.raises(UsageError, match="must be at least 1"):
        shard_order(shards, seed=0, epoch=0, buffer_shards=0)
