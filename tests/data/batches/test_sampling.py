from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.data.batches.lookalikes import LookalikeGraph, lookalike_graph
from facedistill.data.batches.sampling import IdentitySampler, ShuffledSampler, deal_at_random, epoch_generator
from facedistill.errors import DataError

Labels = npt.NDArray[np.int64]
counts_of_people = st.lists(st.integers(1, 23), min_size=2, max_size=30).filter(lambda counts: max(counts) > 1)


def labels_of(counts: list[int], seed: int = 0) -> Labels:
    """Labels with `counts[i]` images of person i, in no order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)


def graph_of(labels: Labels, seed: int = 0) -> LookalikeGraph:
    embeddings = np.random.default_rng(seed).normal(size=(len(labels), 8)).astype(np.float32)
    return lookalike_graph(embeddings, labels, bunch=3, nearest=5)


@given(count=st.integers(1, 60), size=st.integers(2, 20), seed=st.integers(0, 99), ranks=st.integers(1, 3))
def test_shuffled_batches_hold_each_image_at_most_once(count: int, size: int, seed: int, ranks: int) -> None:
    if count < ranks:
        return
    own = [ShuffledSampler(count, size, seed=seed, rank=rank, ranks=ranks).batches(4) for rank in range(ranks)]
    size = min(size, count // ranks)
    assert all(len(batch) == size for batches in own for batch in batches)
    assert len({len(batches) for batches in own}) == 1
    drawn = np.concatenate([batch for batches in own for batch in batches])
    assert len(set(drawn.tolist())) == len(drawn)
    assert len(drawn) == count - count % (size * ranks)


@given(
    counts=counts_of_people,
    size=st.integers(4, 40),
    per_identity=st.integers(2, 5),
    seed=st.integers(0, 99),
    ranks=st.integers(1, 3),
    alike=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_identity_batches(counts: list[int], size: int, per_identity: int, seed: int, ranks: int, alike: bool) -> None:
    labels = labels_of(counts, seed)
    graph = graph_of(labels) if alike else None
    samplers = [
        IdentitySampler(labels, size, per_identity, seed=seed, graph=graph, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    epochs = [sampler.batches(3) for sampler in samplers]
    several = [person for person, count in enumerate(counts) if count > 1]
    people = samplers[0].people_per_batch
    assert people == len(several) or people >= 2
    assert len({len(batches) for batches in epochs}) == 1
    batches = [batch for own in epochs for batch in own]
    for batch in batches:
        groups = batch[: people * per_identity].reshape(people, per_identity)
        singles = batch[people * per_identity :]
        # P distinct people of several images, K images each, and other people with one image each.
        assert all(len(set(labels[group])) == 1 for group in groups)
        present = [int(labels[group[0]]) for group in groups]
        assert len(set(present)) == people
        assert set(present) <= set(several)
        assert all(counts[labels[single]] == 1 for single in singles)
        assert len(set(singles.tolist())) == len(singles)
        # No image twice, unless its person has too few; then each as often as the others, give or take one.
        for person, group in zip(present, groups, strict=True):
            seen = Counter(group.tolist())
            assert len(seen) == min(per_identity, counts[person])
            assert max(seen.values()) - min(seen.values()) <= 1
        assert len(batch) <= max(size, people * per_identity)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    # How often each image is seen in the epoch.
    seen = Counter(np.concatenate(batches).tolist())
    shown = 0
    for person in several:
        of_person = [seen[image] for image in np.flatnonzero(labels == person)]
        assert max(of_person) - min(of_person) <= 1
        groups_due = min(-(-counts[person] // per_identity), len(batches))
        assert sum(of_person) >= groups_due * per_identity
        assert min(of_person) >= 1 or groups_due == len(batches)
        shown += groups_due
    # What fills the last batches up is less than one batch for each process.
    assert len(batches) * people - shown < people * ranks
    room = samplers[0].singles_per_batch * len(batches)
    assert sum(seen[image] for image, label in enumerate(labels) if counts[label] == 1) == min(
        room, sum(count == 1 for count in counts)
    )


def test_every_image_is_seen_once_where_the_numbers_fit() -> None:
    labels = labels_of([8, 4, 12, 4, 4, 16, 8, 8])
    batches = IdentitySampler(labels, 16, 4, seed=1).batches(0)
    assert len(batches) == 4
    assert sorted(np.concatenate(batches).tolist()) == list(range(64))


def test_single_images_are_spread_as_negatives() -> None:
    labels = labels_of([4] * 8 + [1] * 16)
    batches = IdentitySampler(labels, 12, 4, seed=0).batches(0)
    assert [len(batch) for batch in batches] == [12] * 4
    assert sorted(np.concatenate(batches).tolist()) == list(range(48))


def test_who_has_too_many_images_is_in_every_batch_and_shown_in_turn() -> None:
    labels = labels_of([4, 4, 4, 4, 100])
    sampler = IdentitySampler(labels, 8, 4, seed=0)
    batches = sampler.batches(0)
    assert len(batches) == 5
    assert all(4 in labels[batch] for batch in batches)
    of_all = Counter(np.concatenate([np.concatenate(sampler.batches(epoch)) for epoch in range(200)]).tolist())
    shown = np.array([of_all[image] for image in np.flatnonzero(labels == 4)])
    # 200 epochs show 20 of the 100 images each, so every one about 40 times.
    assert shown.sum() == 4000
    assert shown.min() > 15
    assert shown.max() < 70


def test_two_images_fill_a_group_of_four() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    (batch,) = IdentitySampler(labels, 8, 4, seed=0).batches(0)
    assert sorted(Counter(batch.tolist()).items()) == [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1)]


@pytest.mark.parametrize("alike", [False, True])
def test_the_order_depends_on_seed_and_epoch_alone(alike: bool) -> None:
    labels = labels_of([5, 9, 1, 2, 7, 3, 1, 8, 6, 4])
    graph = graph_of(labels) if alike else None

    def batches(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in IdentitySampler(labels, 12, 3, seed=seed, graph=graph).batches(epoch)]

    first = batches(1, 2)
    sampler = IdentitySampler(labels, 12, 3, seed=1, graph=graph)
    sampler.batches(0)
    # An epoch that others came before is the same, so that its steps from k on are what an unbroken run would do.
    assert [batch.tolist() for batch in sampler.batches(2)] == first
    assert batches(1, 3) != first
    assert batches(2, 2) != first
    shuffled = ShuffledSampler(50, 10, seed=1)
    assert np.array_equal(shuffled.batches(2), ShuffledSampler(50, 10, seed=1).batches(2))
    assert not np.array_equal(shuffled.batches(2), shuffled.batches(3))


def test_identities_with_one_image_each_are_refused() -> None:
    with pytest.raises(DataError, match="no identity has two images"):
        IdentitySampler(np.arange(5), 4, 2, seed=0)


def test_people_meet_all_others_when_dealt_at_random() -> None:
    met = np.zeros((6, 6), dtype=np.int64)
    for seed in range(300):
        for batch in deal_at_random(np.array([2, 2, 2, 2, 2, 2]), 4, 3, epoch_generator(seed, 0)):
            met[np.ix_(batch, batch)] += 1
    pairs = met[~np.eye(6, dtype=np.bool_)]
    # Each batch has 6 ordered pairs, 7,200 in all, over 30 places.
    assert pairs.sum() == 7200
    assert pairs.min() > 170
    assert pairs.max() < 320


def test_shards_are_read_one_after_another() -> None:
    shards = np.repeat(np.arange(10), 20)
    batches = ShuffledSampler(200, 10, seed=0, shards=shards).batches(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
