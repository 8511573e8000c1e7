"""Figures by slices of the pairs: is the model worse across a large age gap, for a group, in profile?

All slices share the thresholds of the whole list, as an application has one threshold for everybody: a slice is not
made to look better by one of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.comparison.decisions import decide
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import FARS, far_label, tar_at_far

SMALLEST = 50
"""Pairs of the kind that a figure counts below which a slice is too small to be called best or worst (ours)."""

_NORMAL_95 = 1.959963984540054  # Of a standard normal variable, 95 % lie within this of zero.


@dataclass(frozen=True)
class Share:
    """A share of pairs with its Wilson interval of 95 %, which takes pairs for independent.

    Args:
        count: pairs that have it.
        of: all pairs of the kind, above 0.
    """

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.of

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper end (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
        squared = _NORMAL_95**2
        middle = self.count + squared / 2
        reach = _NORMAL_95 * math.sqrt(self.count * (self.of - self.count) / self.of + squared / 4)
        # At 0 and 1 rounding would leave the ends a hair beside the estimate.
        low = 0.0 if self.count == 0 else (middle - reach) / (self.of + squared)
        high = 1.0 if self.count == self.of else (middle + reach) / (self.of + squared)
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"value": self.value, "count": self.count, "of": self.of, "low": self.ends[0], "high": self.ends[1]}


@dataclass(frozen=True)
class Slice:
    """The pairs that share a value.

    Args:
        name: the value, the range of values, or "A / B" for pairs across two groups.
        genuine: number of genuine pairs.
        impostor: number of impostor pairs.
        figures: "accuracy" and, for each FAR label, "TAR at ..." and "FAR at ..."; None where there are no such pairs
            or where the whole list cannot resolve the FAR.
    """

    name: str
    genuine: int
    impostor: int
    figures: dict[str, Share | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "figures": {name: None if share is None else share.to_dict() for name, share in self.figures.items()},
        }


@dataclass(frozen=True)
class Gap:
    """How far the best and the worst slice are apart in one figure.

    Args:
        figure: which.
        best: name of the best slice: of the highest accuracy or TAR, of the lowest FAR.
        worst: name of the worst.
        size: difference of the two, never negative.
        told_apart: whether their intervals do not even touch. Among many slices some are far apart by chance.
    """

    figure: str
    best: str
    worst: str
    size: float
    told_apart: bool


@dataclass(frozen=True)
class SlicesResult:
    """One model on one pair list, by one column.

    Args:
        name: the benchmark's.
        column: what the pairs are sliced by.
        slices: in the order of their values.
        gaps: one a figure; none for a figure that fewer than two slices have enough pairs for.
        unknown: pairs without a value, which are in no slice.
        source: the file of the values.
        source_sha256: its SHA-256, as hex.
    """

    name: str
    column: str
    slices: tuple[Slice, ...]
    gaps: tuple[Gap, ...]
    unknown: int = 0
    source: str | None = None
    source_sha256: str | None = None

    def warnings(self) -> list[str]:
        """A line for the slices that are too small to tell, and one for pairs without a value."""
        small = [found.name for found in self.slices if min(found.genuine, found.impostor) < SMALLEST]
        lines = []
        if small:
            examples = ", ".join(small[:5]) + (", ..." if len(small) > 5 else "")
            lines.append(
                f"{self.column}: fewer than {SMALLEST} genuine or impostor pairs, too few to be called best or worst "
                f"in what counts them: {examples}"
            )
        if self.unknown:
            lines.append(f"{self.column}: {self.unknown:,} pairs without a value are in no slice")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares are fractions."""
        return {
            "name": self.name,
            "column": self.column,
            "slices": [found.to_dict() for found in self.slices],
            "gaps": [asdict(gap) for gap in self.gaps],
            "unknown": self.unknown,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "warnings": self.warnings(),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, a row for each slice with shares in % and their intervals, and a row of the gaps."""
        figures = [name for name in self.slices[0].figures if any(found.figures[name] for found in self.slices)]
        columns = [self.column, "genuine", "impostor", *figures]
        rows = [
            [
                found.name,
                f"{found.genuine:,}",
                f"{found.impostor:,}",
                *(_spell(found.figures[name]) for name in figures),
            ]
            for found in self.slices
        ]
        gaps = {gap.figure: gap for gap in self.gaps}
        if gaps:
            rows.append(["gap (worst)", "", "", *(_spell_gap(gaps.get(name)) for name in figures)])
        return columns, rows


def _spell(share: Share | None) -> str:
    if share is None:
        return "-"
    low, high = share.ends
    return f"{100 * share.value:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def _spell_gap(gap: Gap | None) -> str:
    return "-" if gap is None else f"{100 * gap.size:.2f} ({gap.worst})"


def slice_pairs(
    judged: JudgedPairs,
    values: Sequence[str | None],
    *,
    name: str,
    column: str,
    order: Sequence[str] | None = None,
    fars: Sequence[float] = FARS,
    source: str | None = None,
    source_sha256: str | None = None,
) -> SlicesResult:
    """Figures of the pairs of each value, under the thresholds of all pairs together.

    A right decision is one under the threshold of the other folds, as in the k-fold accuracy; TAR and FAR of a slice
    are those at the threshold that the whole list has for the FAR.

    Args:
        judged: the pairs with their distances.
        values: (P,) the value of each pair, None where it has none; see `slice_values` for numbers and for images.
        name: the benchmark's.
        column: what the values are.
        order: the values in the order they are to be in; None for the alphabet's.
        fars: where TAR and FAR are read.
        source: the file of the values.
        source_sha256: its SHA-256.

    Raises:
        DataError: there is not one value for each pair, or no pair has one.
    """
    if len(values) != len(judged.same):
        raise DataError(f"{len(values):,} values for {len(judged.same):,} pairs", place=source or name)
    present = {value for value in values if value is not None}
    if not present:
        raise DataError(f"no pair has a value of '{column}'", place=source or name)
    names = sorted(present) if order is None else [value for value in order if value in present]
    right = decide(judged).right
    accepted: dict[str, npt.NDArray[np.bool_] | None] = {}
    for far in fars:
        point = tar_at_far(judged.distances, judged.same, far)
        accepted[far_label(far)] = None if point is None else judged.distances < point.threshold
    column_values = np.array(values, dtype=object)
    slices = tuple(_slice(value, column_values == value, judged.same, right, accepted) for value in names)
    gaps = [_gap(figure, slices) for figure in slices[0].figures]
    return SlicesResult(
        name,
        column,
        slices,
        tuple(gap for gap in gaps if gap is not None),
        unknown=sum(value is None for value in values),
        source=source,
        source_sha256=source_sha256,
    )


def _slice(
    value: str,
    members: npt.NDArray[np.bool_],
    same: npt.NDArray[np.bool_],
    right: npt.NDArray[np.bool_],
    accepted: Mapping[str, npt.NDArray[np.bool_] | None],
) -> Slice:
    genuine, impostor = members & same, members & ~same
    figures: dict[str, Share | None] = {"accuracy": _share(right, members)}
    for label, decided in accepted.items():
        figures[f"TAR at {label}"] = None if decided is None else _share(decided, genuine)
        figures[f"FAR at {label}"] = None if decided is None else _share(decided, impostor)
    return Slice(value, int(np.count_nonzero(genuine)), int(np.count_nonzero(impostor)), figures)


def _share(those: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Share | None:
    of = int(np.count_nonzero(among))
    return Share(int(np.count_nonzero(those & among)), of) if of else None


def _gap(figure: str, slices: Sequence[Slice]) -> Gap | None:
    """Of the slices that have enough pairs; accuracy needs both kinds, since the one kind may be easier."""
    enough: list[tuple[Slice, Share]] = []
    for found in slices:
        share = found.figures[figure]
        counted = min(found.genuine, found.impostor) if share is None or figure == "accuracy" else share.of
        if share is not None and counted >= SMALLEST:
            enough.append((found, share))
    if len(enough) < 2:
        return None
    sign = -1 if figure.startswith("FAR") else 1
    best, worst = max(enough, key=lambda each: sign * each[1].value), min(enough, key=lambda each: sign * each[1].value)
    lower, upper = (worst, best) if sign == 1 else (best, worst)
    return Gap(
        figure,
        best[0].name,
        worst[0].name,
        abs(best[1].value - worst[1].value),
        told_apart=lower[1].ends[1] < upper[1].ends[0],
    )
