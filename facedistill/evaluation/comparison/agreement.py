"""How alike two models decide, whoever is right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facedistill.evaluation.comparison.decisions import Decisions


@dataclass(frozen=True)
class Agreement:
    """Two models on the same pairs.

    Args:
        first: the first's name.
        second: the second's.
        alike: share of the pairs that both accept or both refuse.
        kappa: Cohen's kappa of these decisions: 1 where they are all alike, 0 where as often as by chance; None
            where both decide all pairs alike in one way, since chance would do the same.
        both_right: number of pairs.
        both_wrong: number of pairs.
        only_first: number of pairs that the first alone gets right.
        only_second: number of pairs that the second alone gets right.
    """

    first: str
    second: str
    alike: float
    kappa: float | None
    both_right: int
    both_wrong: int
    only_first: int
    only_second: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def agreement(first: Decisions, second: Decisions, *, names: tuple[str, str] = ("first", "second")) -> Agreement:
    """Compare the decisions of two models on the same pairs."""
    alike = float(np.mean(first.accepted == second.accepted))
    shares = float(np.mean(first.accepted)), float(np.mean(second.accepted))
    by_chance = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
    return Agreement(
        *names,
        alike,
        None if by_chance == 1 else (alike - by_chance) / (1 - by_chance),
        both_right=int(np.count_nonzero(first.right & second.right)),
        both_wrong=int(np.count_nonzero(~first.right & ~second.right)),
        only_first=int(np.count_nonzero(first.right & ~second.right)),
        only_second=int(np.count_nonzero(~first.right & second.right)),
    )
