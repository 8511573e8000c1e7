"""What the report page shows of the two tables, gathered in one pass over each: memory stays flat with their rows."""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from facedistill.align.page_histogram import Histogram
from facedistill.align.table import FaceRow, MissedRow

SHEET_LENGTH = 24
"""Most pictures of one contact sheet."""

Row = TypeVar("Row")


class Shortlist(Generic[Row]):
    """The first few rows by rank, of any number that are offered in any order.

    Args:
        name, hint: headline of the contact sheet and what it is for.
        length: how many are kept.
    """

    def __init__(self, name: str, hint: str, length: int = SHEET_LENGTH) -> None:
        self.name = name
        self.hint = hint
        self._length = length
        self._ranked: list[tuple[tuple[float | str, ...], Row]] = []

    def offer(self, row: Row, *rank: float | str) -> None:
        """Keep `row` if its rank is among the lowest; a rank ends in a name, so that no two are equal."""
        if len(self._ranked) < self._length or rank < self._ranked[-1][0]:
            insort(self._ranked, (rank, row), key=lambda item: item[0])
            del self._ranked[self._length :]

    @property
    def rows(self) -> list[Row]:
        """The rows kept, lowest rank first."""
        return [row for _, row in self._ranked]


@dataclass(frozen=True)
class FaceFigures:
    """Of the crops.

    Attributes:
        crops: how many there are.
        histograms: of score, size, yaw and sharpness.
        sheets: the crops to look at.
    """

    crops: int
    histograms: tuple[Histogram, ...]
    sheets: tuple[Shortlist[FaceRow], ...]


@dataclass(frozen=True)
class MissedFigures:
    """Of whatever gave no crop.

    Attributes:
        rows: how many rows the table has.
        statuses: the same by status, most first.
        shown: rows to look at, of every status some.
    """

    rows: int
    statuses: dict[str, int]
    shown: list[MissedRow]


def gather_faces(rows: Iterable[FaceRow]) -> FaceFigures:
    """One pass over the table of crops."""
    score = Histogram("Score", "confidence of the detector, 0 to 1", 0.001, top=1.0)
    size = Histogram("Size of the face", "side of a square as large as its box, pixels", 1, gathers_tail=True)
    yaw = Histogram("Yaw", "estimated turn to the side, degrees", 1, top=90)
    sharpness = Histogram("Sharpness", "100 where edges are perfect steps", 1, gathers_tail=True)
    best = Shortlist[FaceRow]("Best", "The highest scores: what a good crop looks like here.")
    worst = Shortlist[FaceRow]("Worst", "The lowest scores: some may be no face at all.")
    smallest = Shortlist[FaceRow]("Smallest", "The smallest faces, enlarged to the crop's size.")
    turned = Shortlist[FaceRow]("Most turned", "The largest estimated yaw, to either side.")
    blurred = Shortlist[FaceRow]("Least sharp", "The lowest sharpness: out of focus, moved or enlarged.")
    crops = 0
    for row in rows:
        crops += 1
        score.add(row.score)
        size.add(row.size)
        yaw.add(row.yaw)
        sharpness.add(row.sharpness)
        best.offer(row, -row.score, -row.size, row.crop)
        worst.offer(row, row.score, row.crop)
        smallest.offer(row, row.size, row.crop)
        if row.yaw == row.yaw:  # not a nan, which has no place in an order
            turned.offer(row, -abs(row.yaw), row.crop)
        blurred.offer(row, row.sharpness, row.crop)
    return FaceFigures(crops, (score, size, yaw, sharpness), (best, worst, smallest, turned, blurred))


def gather_missed(rows: Iterable[MissedRow]) -> MissedFigures:
    """One pass over the table of what gave no crop; many rows of one status do not crowd out those of another."""
    statuses: Counter[str] = Counter()
    lists: dict[str, Shortlist[MissedRow]] = defaultdict(lambda: Shortlist("", ""))
    for row in rows:
        statuses[row.status] += 1
        lists[row.status].offer(row, row.photo, row.reason)
    in_order = sorted(statuses, key=lambda status: (-statuses[status], status))
    turns = [(place, index) for index, status in enumerate(in_order) for place in range(len(lists[status].rows))]
    chosen = sorted(turns)[:SHEET_LENGTH]
    shown = [lists[in_order[index]].rows[place] for place, index in sorted(chosen, key=lambda turn: turn[::-1])]
    return MissedFigures(sum(statuses.values()), {status: statuses[status] for status in in_order}, shown)
