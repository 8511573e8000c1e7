"""McNemar's test: do two models err equally often on the same pairs?

Only the pairs that one of the two gets right alone say anything. Were both equally good, each of these would be the
first's with a chance of one half (Q. McNemar, Psychometrika 12, 1947; the continuity correction is A. Edwards', 1948).

The test takes pairs for independent, and pairs that share people are not quite: where the people are known, an interval
over people (`paired_bootstrap`) is the one to believe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EXACT_UP_TO = 1000
"""Discordant pairs up to which the binomial distribution is summed (ours); from some dozens on both differ little."""


@dataclass(frozen=True)
class McNemar:
    """The outcome of the test.

    Args:
        only_first: pairs that the first model alone gets right.
        only_second: pairs that the second alone gets right.
        p: chance of a difference at least as large in either direction, were the models equally good.
        exact: by the binomial distribution; else by chi-square with the continuity correction.
    """

    only_first: int
    only_second: int
    p: float
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"only_first": self.only_first, "only_second": self.only_second, "p": self.p, "exact": self.exact}


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar:
    """Test the right decisions, (P,) bool each, of two models on the same pairs.

    Raises:
        ValueError: the arrays have different shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"decisions on {first.shape} and on {second.shape} pairs cannot be compared")
    only_first, only_second = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(~first & second))
    exact = only_first + only_second <= EXACT_UP_TO
    p = exact_p(only_first, only_second) if exact else chi_square_p(only_first, only_second)
    return McNemar(only_first, only_second, p, exact)


def exact_p(only_first: int, only_second: int) -> float:
    """Two-sided p of the binomial distribution with one half; 1 where there is no discordant pair."""
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    # In whole numbers, so that no digit is lost however small p is.
    tail = ways = 1
    for drawn in range(1, fewer + 1):
        ways = ways * (discordant - drawn + 1) // drawn
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def chi_square_p(only_first: int, only_second: int) -> float:
    """The p of chi-square with one degree of freedom and the continuity correction, for many discordant pairs."""
    if only_first == only_second:
        return 1.0
    excess = abs(only_first - only_second) - 1
    return math.erfc(excess / math.sqrt(2 * (only_first + only_second)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, raised so that all of them together seldom call a difference that is none.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted
