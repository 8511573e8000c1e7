from __future__ import annotations

import numpy as np

from facedistill.data.batches.lookalikes import LookalikeGraph, deal_alike, lookalike_graph, singles_alike
from facedistill.data.batches.sampling import IdentitySampler, epoch_generator


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_neighbours_by_centre() -> None:
    # Centres at 5, 30, 50 and 180 degrees; lengths of single embeddings do not count.
    embeddings = angles(0, 10, 30, 40, 60, 180) * np.array([[1], [1], [9], [7], [7], [1]], dtype=np.float32)
    graph = lookalike_graph(embeddings, np.array([0, 0, 1, 2, 2, 3]), bunch=2)
    assert graph.neighbours.tolist() == [[1, 2, 3], [2, 0, 3], [1, 0, 3], [2, 1, 0]]


def test_it_is_the_same_in_pieces(monkeypatch: object) -> None:
    embeddings = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    labels = np.repeat(np.arange(30), 3)
    whole = lookalike_graph(embeddings, labels, bunch=2, nearest=4).neighbours
    import facedistill.data.batches.lookalikes as module

    monkeypatch.setattr(module, "_MOST_ELEMENTS", 70)  # type: ignore[attr-defined]
    assert np.array_equal(lookalike_graph(embeddings, labels, bunch=2, nearest=4).neighbours, whole)


def test_a_graph_of_some_people() -> None:
    graph = LookalikeGraph(np.array([[1, 2], [3, 0], [0, 1], [1, 0]]), 2)
    assert graph.among(np.array([0, 2, 3])).neighbours.tolist() == [[-1, 1], [0, -1], [-1, 0]]
    assert graph.between(np.array([0, 2]), np.array([1])).tolist() == [[0, -1], [-1, 0]]


def test_bunches_come_into_one_batch() -> None:
    # Six couples, everybody's nearest neighbour being the other one; batches of two couples.
    partner = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10])
    graph = LookalikeGraph(partner[:, None], 2)
    for seed in range(20):
        for batch in deal_alike(np.full(12, 2), 6, 4, graph, epoch_generator(seed, 0)):
            assert {int(partner[person]) for person in batch} == set(batch.tolist())


def test_nobody_is_left_over() -> None:
    groups = np.array([7, 7, 1, 1, 1, 1, 1, 2])
    graph = LookalikeGraph(np.array([[2, 3], [4, 5], [0, 3], [0, 2], [1, 5], [1, 4], [7, 0], [6, 1]]), 3)
    for seed in range(50):
        dealt = deal_alike(groups, 7, 3, graph, epoch_generator(seed, 0))
        assert all(len(set(batch.tolist())) == 3 for batch in dealt)
        assert np.bincount(np.concatenate(dealt), minlength=8).tolist() == groups.tolist()


def test_single_images_join_whom_they_look_like() -> None:
    neighbours = np.array([[3, 1], [-1, 0], [2, 3]])
    dealt = [np.array([0, 1]), np.array([2, 1])]
    first, second = singles_alike(dealt, np.array([0, 1, 2, 3]), [2, 2], neighbours)
    # Batch 0: person 0's nearest (3), then the second nearest of 0 (1); batch 1: 2's nearest, and what is left.
    assert first.tolist() == [3, 1]
    assert second.tolist() == [2, 0]


def test_batches_are_harder_than_at_random() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 6))
    labels = np.repeat(np.arange(60), 4)
    embeddings = (centres[labels] + 0.1 * generator.normal(size=(240, 6))).astype(np.float32)
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)

    def hardest(graph: LookalikeGraph | None) -> float:
        """Mean cosine of everybody to the nearest other person in the batch."""
        found = []
        for batch in IdentitySampler(labels, 32, 4, seed=0, graph=graph).batches(0):
            people = np.unique(labels[batch])
            cosine = unit[people] @ unit[people].T - 2 * np.eye(len(people))
            found.append(cosine.max(axis=1).mean())
        return float(np.mean(found))

    assert hardest(lookalike_graph(embeddings, labels, bunch=4)) > hardest(None) + 0.1
