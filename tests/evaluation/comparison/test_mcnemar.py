from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from facedistill.evaluation.comparison.mcnemar import EXACT_UP_TO, chi_square_p, exact_p, holm, mcnemar


@given(st.integers(0, 300), st.integers(0, 300))
def test_oracle_binomial(only_first: int, only_second: int) -> None:
    discordant = only_first + only_second
    expected = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert exact_p(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert exact_p(only_second, only_first) == exact_p(only_first, only_second)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_oracle_chi_square(only_first: int, only_second: int) -> None:
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / (only_first + only_second)
    assert chi_square_p(only_first, only_second) == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-9, abs=1e-300)


def test_by_hand() -> None:
    """Of six discordant pairs one is the first's: (1 + 6) ways of 64 on either side."""
    first = np.array([True, False, False, False, False, False, True, False])
    second = np.array([False, True, True, True, True, True, True, False])
    found = mcnemar(first, second)
    assert found.to_dict() == {"only_first": 1, "only_second": 5, "p": 14 / 64, "exact": True}


def test_tiny_p_values_are_no_zero() -> None:
    assert exact_p(0, 1000) == 2.0**-999


def test_many_discordant_pairs_go_by_chi_square_and_say_nearly_the_same() -> None:
    for discordant in (EXACT_UP_TO, EXACT_UP_TO + 1):
        first = np.arange(discordant) < 0.45 * discordant
        found = mcnemar(first, ~first)
        assert found.exact == (discordant == EXACT_UP_TO)
        assert found.p == pytest.approx(exact_p(found.only_first, found.only_second), rel=0.01)
        assert found.only_first + found.only_second == discordant


def test_equal_models_and_models_without_a_difference() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p == 1.0
    assert mcnemar(same, np.array([False, False, True])).p == 1.0, "one discordant pair says nothing"
    assert mcnemar(same, np.array([False, True, True])).p == 1.0
    assert mcnemar(same[:0], same[:0]).p == 1.0
    assert chi_square_p(700, 700) == 1.0
    assert chi_square_p(700, 701) == 1.0


def test_different_lists() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        mcnemar(np.array([True]), np.array([True, False]))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([0.6, 0.6, 1.0]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_as_its_procedure_does(p_values: list[float], level: float) -> None:
    """From the smallest on, until one is above the level over the number of those left."""
    left, rejected = sorted(p_values), []
    while left and left[0] * len(left) <= level:
        rejected.append(left.pop(0))
    assert sorted(p for p, raised in zip(p_values, holm(p_values), strict=True) if raised <= level) == rejected
