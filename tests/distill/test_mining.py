"""Mining against loops over triplets written out by hand, and against pytorch-metric-learning."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from facedistill.distill import mining
from facedistill.distill.distance import pairwise_distance
from facedistill.distill.method import DistillationBatch
from facedistill.distill.mining import Block, Mining, Triplets, blocks_of_all, draw_triplets, positive_pairs
from facedistill.distill.triplet import MiningOptions, mine

Triplet = tuple[int, int, int]

# Batches of several make-ups: even ones, single photos, one large identity, an identity and others, two alone.
LABELS = {
    "four each": [i // 4 for i in range(24)],
    "mixed": [0, 5, 0, 1, 1, 2, 0, 3, 5, 5, 4, 0, 9, 9],
    "one large": [0] * 12 + [1, 1, 2, 3],
    "single photos": list(range(9)),
    "one person": [7] * 6,
    "two people": [1, 1, 1, 0, 0, 0, 0],
    "a batch of two": [0, 1],
    "one pair": [3, 3],
}


def made_up(labels: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(labels), 5, generator=generator, dtype=torch.float64), torch.tensor(labels)


def triplets_of(drawn: Triplets) -> list[Triplet]:
    """The valid ones of one negative a pair."""
    return [
        (anchor, int(drawn.positive[anchor, slot]), int(drawn.negative[anchor, slot]))
        for anchor, slot in drawn.valid.nonzero().tolist()
    ]


def triplets_in(blocks: Iterable[Block]) -> list[Triplet]:
    """The valid ones of blocks that hold every negative."""
    return [
        (block.anchors.start + row, int(block.positive[row, slot]), negative)
        for block in blocks
        for row, slot, negative in block.valid.nonzero().tolist()
    ]


def every_triplet(labels: list[int]) -> list[Triplet]:
    images = range(len(labels))
    return [
        (a, p, n)
        for a, p, n in itertools.product(images, images, images)
        if a != p and labels[a] == labels[p] != labels[n]
    ]


def semi_hard(distance: list[list[float]], triplets: list[Triplet], alpha: float) -> list[Triplet]:
    return [(a, p, n) for a, p, n in triplets if distance[a][p] < distance[a][n] < distance[a][p] + alpha]


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_every_pair_of_a_person_has_one_slot(labels: list[int]) -> None:
    expected = [(a, p) for a, p in itertools.permutations(range(len(labels)), 2) if labels[a] == labels[p]]
    # As on the CPU, and as elsewhere where the host does not know how many there are.
    for largest in (None, len(labels)):
        pairs = positive_pairs(torch.tensor(labels), largest)
        found = [(anchor, int(pairs.positive[anchor, slot])) for anchor, slot in pairs.valid.nonzero().tolist()]
        assert sorted(found) == expected
        assert len(found) == len(expected)


def test_slots_are_as_many_as_the_largest_person_needs() -> None:
    assert positive_pairs(torch.tensor([0, 0, 0, 1, 1])).valid.shape == (5, 2)
    assert positive_pairs(torch.tensor([0, 0, 0, 1, 1]), 3).valid.shape == (5, 2)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_drawn_triplets_are_those_of_a_slow_loop(labels: list[int], known: bool) -> None:
    for seed in range(3):
        student, people = made_up(labels, seed)
        teacher, _ = made_up(labels, seed + 100)
        distance, by_teacher = pairwise_distance(student), pairwise_distance(teacher)
        pairs = positive_pairs(people, None if known else len(labels))
        slow = distance.tolist()
        everything = every_triplet(labels)
        nearest = {
            a: sorted((n for n in range(len(labels)) if labels[n] != labels[a]), key=by_teacher[a].tolist().__getitem__)
            for a in range(len(labels))
        }
        admitted: dict[Mining, list[Triplet]] = {
            "semi-hard": semi_hard(slow, everything, 0.35),
            "all-semi-hard": semi_hard(slow, everything, 0.35),
            "all": everything,
            "hard": [
                (a, p, n)
                for a, p, n in everything
                if slow[a][n] == min(slow[a][other] for other in range(len(labels)) if labels[other] != labels[a])
            ],
            "teacher": [(a, p, n) for a, p, n in everything if n in nearest[a][:2]],
        }
        for rule, expected in admitted.items():
            drawn = triplets_of(
                draw_triplets(rule, distance, people, pairs, alpha=0.35, teacher_distance=by_teacher, nearest=2)
            )
            assert set(drawn) <= set(expected)
            # One for each pair that has any.
            assert sorted((a, p) for a, p, _ in drawn) == sorted({(a, p) for a, p, _ in expected})


@pytest.mark.parametrize("together", [1, 100, 1 << 22])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_all_triplets_are_those_of_a_slow_loop_however_they_are_cut(
    labels: list[int], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "_TOGETHER", together)
    student, people = made_up(labels)
    distance = pairwise_distance(student)
    for largest in (None, len(labels)):
        pairs = positive_pairs(people, largest)
        found = triplets_in(blocks_of_all(distance, people, pairs))
        assert sorted(found) == every_triplet(labels)
        found = triplets_in(blocks_of_all(distance, people, pairs, alpha=0.35))
        assert sorted(found) == semi_hard(distance.tolist(), every_triplet(labels), 0.35)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_semi_hard_triplets_are_those_of_pytorch_metric_learning(labels: list[int]) -> None:
    peer = pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import TripletMarginMiner

    assert peer.__version__
    for seed, alpha in itertools.product(range(3), (0.05, 0.35, 5.0)):
        student, people = made_up(labels, seed)
        miner = TripletMarginMiner(
            margin=alpha, type_of_triplets="semihard", distance=LpDistance(normalize_embeddings=True, p=2, power=2)
        )
        expected = sorted(zip(*(column.tolist() for column in miner(student, people)), strict=True))
        distance = pairwise_distance(student)
        pairs = positive_pairs(people)
        assert sorted(triplets_in(blocks_of_all(distance, people, pairs, alpha=alpha))) == expected
        drawn = triplets_of(draw_triplets("semi-hard", distance, people, pairs, alpha=alpha))
        assert set(drawn) <= set(expected)
        assert {(a, p) for a, p, _ in drawn} == {(a, p) for a, p, _ in expected}


@pytest.mark.parametrize("rule", ["semi-hard", "all-semi-hard", "all", "teacher"])
def test_every_admitted_negative_is_drawn_equally_often(rule: Mining) -> None:
    # Anchor 0 and positive 1 coincide; negatives 2, 3 and 4 lie at 0.1, 0.2 and 0.3, number 5 out of the band.
    distance = torch.zeros(6, 6)
    distance[0, 2:] = torch.tensor([0.3, 0.1, 0.2, 0.9])
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    pairs = positive_pairs(labels)
    torch.manual_seed(0)
    chosen = [
        int(draw_triplets(rule, distance, labels, pairs, teacher_distance=distance, nearest=3).negative[0, 0])
        for _ in range(900)
    ]
    counts = [chosen.count(image) for image in range(6)]
    assert counts[0] == counts[1] == 0
    if rule == "all":
        assert all(180 < count < 270 for count in counts[2:])
    else:
        assert counts[5] == 0
        assert all(250 < count < 350 for count in counts[2:5])


def test_a_negative_at_either_end_of_the_band_is_none() -> None:
    # As FaceNet has it: behind the positive, and within alpha of it. In eighths, which float32 holds without rounding.
    distance = torch.zeros(4, 4)
    distance[0] = torch.tensor([0.0, 0.5, 0.5, 0.75])
    labels = torch.tensor([0, 0, 1, 2])
    pairs = positive_pairs(labels)
    assert not draw_triplets("semi-hard", distance, labels, pairs, alpha=0.25).valid[0].any()
    assert not any(anchor == 0 for anchor, _, _ in triplets_in(blocks_of_all(distance, labels, pairs, alpha=0.25)))
    assert draw_triplets("semi-hard", distance, labels, pairs, alpha=0.26).negative[0, 0] == 3


def test_fewer_negatives_than_the_teacher_may_draw_from() -> None:
    student, labels = made_up([0, 0, 1])
    distance = pairwise_distance(student)
    drawn = draw_triplets("teacher", distance, labels, positive_pairs(labels), teacher_distance=distance, nearest=50)
    assert triplets_of(drawn) == [(0, 1, 2), (1, 0, 2)]


def test_distances_obey_the_identity() -> None:
    embeddings = torch.randn(7, 5, dtype=torch.float64)
    squared = pairwise_distance(embeddings)
    angle = pairwise_distance(embeddings, "angle")
    off_diagonal = ~torch.eye(7, dtype=torch.bool)
    assert torch.allclose(squared[off_diagonal], (2 - 2 * torch.cos(angle))[off_diagonal], atol=1e-9)
    assert squared.diagonal().abs().max() < 1e-9
    assert torch.allclose(pairwise_distance(embeddings * 40), squared)


def test_a_row_of_zeros_has_a_distance_and_a_gradient_that_is_no_explosion() -> None:
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    distance = pairwise_distance(embeddings)
    assert distance[0].tolist() == [2.0, 2.0, 2.0]
    distance[0, 1].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().max() < 10


# What makes the host wait for a device, since the answer or its size is needed at once.
WAITING = {"item", "tolist", "nonzero", "masked_select", "unique", "bincount", "argwhere", "repeat_interleave"}
WAITING |= {"__int__", "__float__", "__bool__", "__index__"}


class Watch(TorchFunctionMode):
    """Notes the largest tensor that is made, and what would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.waits: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        masks = args[1] if name in ("__getitem__", "__setitem__") else ()
        masks = masks if isinstance(masks, tuple) else (masks,)
        masked = any(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool for mask in masks)
        if name in WAITING or masked:
            self.waits.append(name)
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


@pytest.mark.parametrize("rule", ["semi-hard", "hard", "teacher", "all-semi-hard", "all"])
def test_a_large_batch_makes_no_cube(rule: Mining) -> None:
    size = 1024
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, size, 16, generator=generator)
    batch = DistillationBatch(student, teacher, torch.arange(size) // 4)
    with Watch() as watch:
        mined = mine(batch, MiningOptions(mining=rule))
        for block in mined.blocks():
            block.distances(mined.distance)
    assert size * size <= watch.largest <= 1 << 22


@pytest.mark.parametrize("rule", ["semi-hard", "hard", "teacher", "all-semi-hard", "all"])
def test_nothing_waits_for_the_device(rule: Mining) -> None:
    student, labels = made_up(LABELS["mixed"])
    distance = pairwise_distance(student)
    with Watch() as watch:
        pairs = positive_pairs(labels, len(labels) - 1)
        draw_triplets(rule, distance, labels, pairs, teacher_distance=distance)
        for block in blocks_of_all(distance, labels, pairs, alpha=0.35):
            block.distances(distance)
    assert watch.waits == []
    with Watch() as watch:
        int(distance[distance > 1].sum())
        positive_pairs(labels)  # asks on the CPU, where the answer is there
    assert watch.waits == ["__getitem__", "__int__", "__int__"]
