"""The margin maps by hand, by their properties, and against numpy's percentiles."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.distill.margins import (
    GapScale,
    MarginMap,
    RunningRange,
    margin_of,
    percentile,
    sort_gaps,
)

MAPS: tuple[MarginMap, ...] = get_args(MarginMap)


def scale_of(gap: torch.Tensor, valid: torch.Tensor, low: float = 0.0, high: float | None = None) -> GapScale:
    """By batch unless a range is given."""
    ordered, gaps = sort_gaps(gap, valid)
    largest = torch.where(valid, gap, 0).amax().clamp(min=0)
    return GapScale(torch.tensor(low), largest if high is None else torch.tensor(high), ordered, gaps)


def test_published_margins_by_hand() -> None:
    gap = torch.tensor([0.0, 1.0, 2.0, -3.0, 99.0])
    valid = torch.tensor([True, True, True, True, False])
    # d_max is 2: the 99 is no triplet. The teacher has the fourth one wrong, so it gets the lowest margin.
    margins = margin_of(gap, scale_of(gap, valid), margin_min=0.2, margin_max=0.5)
    assert margins[:4].tolist() == pytest.approx([0.2, 0.35, 0.5, 0.2])


@pytest.mark.parametrize(
    ("margin_map", "expected"),
    [
        ("power", [0.2, 0.275, 0.5, 0.2, 0.5]),  # 0.2 + 0.3 (d / 2)^2
        ("spread", [0.2, 0.3, 0.5, 0.2, 0.5]),  # d from 0.5 to 2
        ("rank", [0.2, 0.35, 0.425, 0.2, 0.5]),  # 2, 3 and 4 of the 4 others are below, none below the two zeros
        ("gap", [0.2, 0.5, 0.5, 0.2, 0.5]),
    ],
)
def test_our_maps_by_hand(margin_map: MarginMap, expected: list[float]) -> None:
    gap = torch.tensor([0.0, 1.0, 2.0, -3.0, 4.0])
    scale = scale_of(gap, torch.ones(5, dtype=torch.bool), low=0.5, high=2.0)
    assert margin_of(gap, scale, margin_map=margin_map, exponent=2.0).tolist() == pytest.approx(expected)


def test_the_map_gap_asks_for_the_teachers_own_gap_within_the_range() -> None:
    gap = torch.tensor([-1.0, 0.1, 0.7, 1.3])
    scale = scale_of(gap, gap > -9)
    margins = margin_of(gap, scale, margin_map="gap", margin_min=0.2, margin_max=1.0)
    assert margins.tolist() == pytest.approx([0.2, 0.2, 0.7, 1.0])


def test_a_power_of_one_is_linear() -> None:
    gap = torch.rand(30) * 2
    scale = scale_of(gap, gap > 0.1)
    assert torch.equal(margin_of(gap, scale), margin_of(gap, scale, margin_map="power", exponent=1.0))


@pytest.mark.parametrize("margin_map", MAPS)
@pytest.mark.parametrize("gaps", [[0.0, -1.0], [0.0], [-2.0, -2.0, -2.0]])
def test_where_the_teacher_sees_no_gap_every_margin_is_the_lowest(margin_map: MarginMap, gaps: list[float]) -> None:
    gap = torch.tensor(gaps)
    margins = margin_of(gap, scale_of(gap, torch.ones(len(gaps), dtype=torch.bool)), margin_map=margin_map)
    assert margins.tolist() == pytest.approx([0.2] * len(gaps))


@pytest.mark.parametrize("margin_map", MAPS)
def test_margins_carry_no_gradient(margin_map: MarginMap) -> None:
    gap = torch.rand(6, requires_grad=True)
    assert not margin_of(gap, scale_of(gap, gap > 0), margin_map=margin_map).requires_grad


@pytest.mark.parametrize("margin_map", MAPS)
def test_without_a_triplet_margins_are_finite(margin_map: MarginMap) -> None:
    gap = torch.tensor([1.0, -1.0])
    scale = scale_of(gap, torch.zeros(2, dtype=torch.bool))
    assert torch.isfinite(margin_of(gap, scale, margin_map=margin_map)).all()


@given(
    gaps=st.lists(st.floats(-4, 4), min_size=1, max_size=20),
    kept=st.lists(st.booleans(), min_size=20, max_size=20),
    margin_map=st.sampled_from(MAPS),
    ends=st.tuples(st.floats(0, 2), st.floats(0, 2)),
    exponent=st.floats(0.1, 8),
    low=st.floats(0, 1),
    width=st.floats(0, 1),
)
@settings(deadline=None, max_examples=150)
def test_margins_stay_in_their_range_and_never_fall_as_the_gap_grows(
    gaps: list[float],
    kept: list[bool],
    margin_map: MarginMap,
    ends: tuple[float, float],
    exponent: float,
    low: float,
    width: float,
) -> None:
    gap = torch.tensor(gaps, dtype=torch.float64)
    scale = scale_of(gap, torch.tensor(kept[: len(gaps)]), *sorted(ends))
    margins = margin_of(gap, scale, margin_map=margin_map, margin_min=low, margin_max=low + width, exponent=exponent)
    assert (margins >= low - 1e-9).all()
    assert (margins <= low + width + 1e-9).all()
    assert (margins[gap.argsort()].diff() >= -1e-9).all()


def test_crowded_gaps_are_told_apart_by_spread_and_rank_alone() -> None:
    # Nearly all gaps lie from 1.1 to 1.2 and one is 2, as between a strong teacher's people.
    gap = torch.cat([torch.linspace(1.1, 1.2, 99), torch.tensor([2.0])])
    ordered, count = sort_gaps(gap, gap > 0)
    low, high = RunningRange(5, 95, 0.99)(ordered, count)
    by_batch = scale_of(gap, gap > 0)
    spreads = {
        margin_map: float(
            margin_of(
                gap,
                by_batch._replace(low=low, high=high) if margin_map == "spread" else by_batch,
                margin_map=margin_map,
            ).std()
        )
        for margin_map in ("linear", "spread", "rank")
    }
    assert spreads["linear"] < 0.02
    assert spreads["spread"] > 0.08
    assert spreads["rank"] > 0.08


@pytest.mark.parametrize("percent", [0, 5, 37.5, 50, 95, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_percentiles_are_those_of_numpy(percent: float, count: int) -> None:
    values = np.random.default_rng(count).normal(size=count + 9)
    valid = torch.arange(count + 9) < count
    shuffled = torch.randperm(count + 9)
    ordered, found = sort_gaps(torch.from_numpy(values)[shuffled], valid[shuffled])
    assert found.item() == count
    expected = np.percentile(np.maximum(values[:count], 0), percent)
    assert percentile(ordered, found, percent).item() == pytest.approx(expected, abs=1e-12)


def test_the_range_starts_at_the_first_batch_that_has_triplets_and_moves_from_there() -> None:
    moving = RunningRange(0, 100, momentum=0.75)

    def see(*gaps: float, valid: bool = True) -> tuple[float, float]:
        gap = torch.tensor(gaps)
        low, high = moving(*sort_gaps(gap, torch.full_like(gap, valid, dtype=torch.bool)))
        return low.item(), high.item()

    assert see(8.0, 9.0, valid=False) == (0.0, 0.0)
    assert see(1.0, 2.0, 1.5) == (1.0, 2.0)
    assert see(0.2, 6.0) == pytest.approx((0.8, 3.0))
    assert see(8.0, 9.0, valid=False) == pytest.approx((0.8, 3.0))
    moving.eval()
    assert see(5.0, 9.0) == pytest.approx((0.8, 3.0))


def test_one_outlier_does_not_set_the_running_percentile() -> None:
    moving = RunningRange(5, 95, momentum=0.99)
    gap = torch.linspace(1.0, 1.2, 100)
    everything = torch.ones(100, dtype=torch.bool)
    moving(*sort_gaps(gap, everything))
    gap[3] = 4.0
    _, high = moving(*sort_gaps(gap, everything))
    assert high.item() == pytest.approx(1.19, abs=0.005)
    assert scale_of(gap, everything).high.item() == 4.0
