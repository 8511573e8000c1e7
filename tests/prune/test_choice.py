from __future__ import annotations

import numpy as np
import pytest

from facedistill.errors import UsageError
from facedistill.prune.choice import Removed, choose, first_of, ranking
from facedistill.prune.groups import ChannelGroup


def group(*scores: float, channels: int = 1) -> ChannelGroup:
    units = tuple(tuple(range(index * channels, (index + 1) * channels)) for index in range(len(scores)))
    return ChannelGroup("layer", units, np.array(scores, dtype=np.float32), {}, {}, None)


def test_the_least_important_of_all_groups_come_first() -> None:
    groups = [group(0.5, 2.0, 0.1, 1.4), group(0.3, 0.4, 2.2, 1.1)]
    # Of four units each keeps its best two.
    assert ranking(groups) == [0, 1, 1, 0]


def test_a_fifth_is_kept_rounded_up_whatever_the_scores() -> None:
    assert len(ranking([group(*[0.0] * 11)])) == 8
    assert ranking([group(0.0, 0.0)]) == []
    assert ranking([group(5.0)]) == []


@pytest.mark.parametrize(
    ("lost", "multiple", "kept"),
    [
        (0, 8, 20),  # no multiple of 8, and nothing asked to go
        (1, 8, 16),  # 19
        (6, 8, 16),  # 14
        (9, 8, 8),  # 11
        (16, 8, 8),  # 4, the floor
        (3, 4, 16),  # 17
        (16, 4, 4),
        (7, 1, 13),
    ],
)
def test_multiples_are_left(lost: int, multiple: int, kept: int) -> None:
    scores = np.random.default_rng(0).permutation(20).astype(np.float32)
    (gone,) = first_of([group(*scores)], [0] * 16, lost, multiple)
    assert (~gone).sum() == kept
    assert set(scores[gone]) == set(range(20 - kept))  # the least important ones


def test_multiples_give_way_to_the_target() -> None:
    groups = [group(*np.linspace(0, 1, 32)), group(*np.linspace(0, 1, 32))]

    def share(removed: Removed) -> float:
        return 1 - sum(int(gone.sum()) for gone in removed) / 64

    def kept(target: float) -> list[int]:
        return sorted(32 - int(gone.sum()) for gone in choose(groups, share, target, what="channels"))

    assert kept(0.5) == [16, 16]
    assert kept(0.56) == [16, 20]  # 0.5625; multiples of 8 have 0.5 and 0.625 only
    assert kept(0.53) == [17, 17]


def left(removed: Removed) -> float:
    """4 channels of weight 1 and 4 of weight 3; 16 in all."""
    return 1 - (removed[0].sum() + 3 * removed[1].sum()) / 16


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0.94, [[2], []]),  # 0.9375 with one channel less
        (0.78, [[2], [0]]),  # 0.75, nearer than 0.9375
        (0.86, [[2], []]),  # 0.9375, nearer than 0.75 (which differ by 0.0775 and 0.11)
        (0.5, [[0, 2], [0, 1]]),  # all that may go
    ],
)
def test_the_nearest_share_is_taken(target: float, expected: list[list[int]]) -> None:
    groups = [group(0.5, 2.0, 0.1, 1.4), group(0.3, 0.4, 2.2, 1.1)]
    removed = choose(groups, left, target, what="channels")
    assert [np.flatnonzero(gone).tolist() for gone in removed] == expected


@pytest.mark.parametrize("target", [0.97, 0.49])
def test_a_share_that_cannot_be_had(target: float) -> None:
    groups = [group(0.5, 2.0, 0.1, 1.4), group(0.3, 0.4, 2.2, 1.1)]
    with pytest.raises(UsageError, match=f"{target:g} of the channels"):
        choose(groups, left, target, what="channels")
