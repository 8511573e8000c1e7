"""Several models on all pairs of a data set, each on the same resamples of its people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facedistill.evaluation.people_bootstrap import ResampledTars
from facedistill.evaluation.tar_intervals import CONFIDENCE, TarInterval, TarIntervals, tar_differences, tar_intervals


@dataclass(frozen=True)
class AllPairsComparison:
    """M models on all pairs of one data set.

    Args:
        name: the data set's.
        fingerprint: of the data set.
        people: number of people.
        images: number of images.
        tars: of each model, with intervals over people.
        differences: of every model but the baseline.
        notes: what was done on the way, such as resizing.
    """

    name: str
    fingerprint: str
    people: int
    images: int
    tars: tuple[TarIntervals, ...]
    differences: tuple[TarIntervals, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "people": self.people,
            "images": self.images,
            "models": [tars.to_dict() for tars in self.tars],
            "differences": [tars.to_dict() for tars in self.differences],
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for each model: TAR in % with its interval over people."""
        return _table("model", "", self.tars)

    def difference_table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for each model but the baseline: differences in points with their intervals."""
        return _table(f"above {self.differences[0].against}", "+", self.differences)


def _table(first: str, sign: str, rows: Sequence[TarIntervals]) -> tuple[list[str], list[list[str]]]:
    columns = [first, *(f"TAR at {far}" for far in rows[0].at_far)]
    return columns, [[row.name, *(_spell(found, sign) for found in row.at_far.values())] for row in rows]


def _spell(found: TarInterval | None, sign: str) -> str:
    if found is None:
        return "-"
    return f"{100 * found.estimate:{sign}.2f} ({100 * found.low:{sign}.2f} to {100 * found.high:{sign}.2f})"


def compare_on_all_pairs(
    names: Sequence[str],
    runs: Sequence[ResampledTars],
    *,
    name: str,
    fingerprint: str,
    people: int,
    images: int,
    baseline: int = 0,
    confidence: float = CONFIDENCE,
    notes: tuple[str, ...] = (),
) -> AllPairsComparison:
    """Compare models by what one `PeopleBootstrap` gave for each.

    Raises:
        ValueError: there are not two models, or they were judged on different people or resamples.
    """
    if len(runs) < 2:
        raise ValueError("two models at least are compared")
    return AllPairsComparison(
        name,
        fingerprint,
        people,
        images,
        tuple(tar_intervals([run], name=own, confidence=confidence) for own, run in zip(names, runs, strict=True)),
        tuple(
            tar_differences([run], [runs[baseline]], name=own, against=names[baseline], confidence=confidence)
            for index, (own, run) in enumerate(zip(names, runs, strict=True))
            if index != baseline
        ),
        notes,
    )
