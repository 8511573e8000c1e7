"""Making heads by name, and what is refused."""

from __future__ import annotations

import pytest
import torch

from facedistill.errors import UsageError
from facedistill.heads import MarginHead, PartialFC, make_head


def test_scale_and_margin_can_be_chosen() -> None:
    rule = make_head("cosface", 4, 3, scale=32.0, margin=0.2).margin
    assert (rule.scale, rule.margin) == (32.0, 0.2)
    published = make_head("arcface", 4, 3).margin
    assert (published.scale, published.margin) == (64.0, 0.5)


def test_the_rate_chooses_the_kind_of_head() -> None:
    assert isinstance(make_head("arcface", 4, 3), MarginHead)
    assert isinstance(make_head("arcface", 4, 3, sample_rate=1.0), PartialFC)


def test_centres_are_the_same_whoever_holds_them() -> None:
    """The first draw from the generator, so that a run's first weights do not depend on the head's kind."""
    torch.manual_seed(3)
    expected = torch.nn.init.normal_(torch.empty(6, 4), std=0.01)
    after = torch.rand(1)
    for rate in (None, 1.0, 0.5):
        torch.manual_seed(3)
        head = make_head("adaface", 4, 6, sample_rate=rate)
        table = head.sampling.centres if rate == 0.5 else head.centres
        assert torch.equal(table, expected)
        assert torch.equal(torch.rand(1), after)


def test_an_unknown_head_is_suggested() -> None:
    with pytest.raises(UsageError, match="Did you mean 'arcface'"):
        make_head("arcfase", 4, 3)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="scale of a head is a number above 0"):
        make_head("arcface", 4, 3, scale=scale)


@pytest.mark.parametrize("margin", [-0.1, float("inf"), float("nan")])
def test_a_margin_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(UsageError, match="margin of a head is a number from 0"):
        make_head("arcface", 4, 3, margin=margin)


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="above 0 and up to 1"):
        make_head("arcface", 4, 3, sample_rate=rate)


@pytest.mark.parametrize("name", ["combined", "magface", "softmax"])
def test_heads_without_a_single_margin_take_none(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' takes no margin.*Leave --margin out"):
        make_head(name, 4, 3, margin=0.3)
    assert make_head(name, 4, 3, scale=16.0).margin.scale == 16.0
