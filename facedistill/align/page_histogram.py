"""Histograms that are counted while rows stream by, and drawn as SVG."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from facedistill.page.html import counted, text

_WIDTH, _HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 22, 44
_MOST_BARS = 26
_MOST_LABELS = 7  # along the x axis
_TAIL = 0.99  # share of the values that lie below the last bar where that one gathers a long tail


@dataclass(frozen=True)
class Bars:
    """What is drawn.

    Attributes:
        edges: (B + 1) rising edges of the bars.
        counts: (B) values in each.
        is_open: whether the last bar holds everything above its lower edge.
    """

    edges: list[float]
    counts: list[int]
    is_open: bool


@dataclass
class Histogram:
    """Counts of one figure, in cells of `step`: memory grows with the range of the values and not with their number.

    Attributes:
        name: what is counted, for the headline.
        axis: the label of the x axis, with its unit.
        step: the finest width of a bar.
        top: the greatest value there is, which belongs to the last bar; None where there is none.
        gathers_tail: the last bar holds the upper hundredth, so that one huge value does not flatten all others.
        cells: values by index of their cell.
        without: values that are no finite number.
    """

    name: str
    axis: str
    step: float
    top: float | None = None
    gathers_tail: bool = False
    cells: Counter[int] = field(default_factory=Counter)
    without: int = 0

    def add(self, value: float) -> None:
        """Count one value."""
        if not math.isfinite(value):
            self.without += 1
            return
        cell = math.floor(round(value / self.step, 6))
        self.cells[cell if self.top is None else min(cell, round(self.top / self.step) - 1)] += 1

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.cells.values())

    def quantile(self, share: float) -> float:
        """The middle of the cell below which this share of the values lies; only where there are any."""
        wanted, seen = share * self.total, 0
        for cell in sorted(self.cells):
            seen += self.cells[cell]
            if seen >= wanted:
                break
        return (cell + 0.5) * self.step

    def bars(self) -> Bars:
        """Bars of one round width that hold every value; at most 27 of them. Only where there are values."""
        low, high = min(self.cells), max(self.cells)
        last = math.floor(self.quantile(_TAIL) / self.step) if self.gathers_tail else high
        width = next(width for width in _round_widths() if last // width - low // width < _MOST_BARS)
        is_open = high // width > last // width + 1
        first, end = low // width, (last // width + 2) if is_open else high // width + 1
        counts = [0] * (end - first)
        for cell, count in self.cells.items():
            counts[min(cell // width, end - 1) - first] += count
        return Bars([index * width * self.step for index in range(first, end + 1)], counts, is_open)

    def svg(self) -> str:
        """The drawing, without a size of its own; colours come from the page's style sheet."""
        bars = self.bars()
        highest = _round_up(max(bars.counts))
        across = (_WIDTH - _LEFT - _RIGHT) / len(bars.counts)
        upwards = (_HEIGHT - _TOP - _BOTTOM) / highest
        floor = _HEIGHT - _BOTTOM
        parts = []
        for tick in sorted({0, highest // 2, highest}):
            y = floor - tick * upwards
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{tick:,}</text>')
        decimals = max(0, math.ceil(-math.log10(self.step) - 1e-9))
        for index, count in enumerate(bars.counts):
            # A bar of few faces among many stays visible: the few are what one looks for.
            height = max(count * upwards, 1.5) if count else 0
            is_last = bars.is_open and index == len(bars.counts) - 1
            upper = "and more" if is_last else f"to {bars.edges[index + 1]:.{decimals}f}"
            label = f"{bars.edges[index]:.{decimals}f} {upper}: {counted(count, 'face')}"
            parts.append(
                f'<rect class="bar" x="{_LEFT + index * across + 0.5:.2f}" y="{floor - height:.2f}" '
                f'width="{across - 1:.2f}" height="{height:.2f}"><title>{label}</title></rect>'
            )
        parts += self._labels(bars, across, decimals)
        title = f"{self.name}: histogram of {counted(self.total, 'face')}"
        return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}">{"".join(parts)}</svg>'

    def _labels(self, bars: Bars, across: float, decimals: int) -> list[str]:
        floor = _HEIGHT - _BOTTOM
        every = math.ceil(len(bars.edges) / _MOST_LABELS)
        parts = []
        for index in range(0, len(bars.edges), every):
            # The right edge of an open bar is no value.
            if bars.is_open and index == len(bars.edges) - 1:
                break
            sign = "≥ " if bars.is_open and index == len(bars.edges) - 2 else ""
            number = f"{bars.edges[index]:.{decimals}f}"
            parts.append(f'<text class="mid" x="{_LEFT + index * across:.1f}" y="{floor + 15}">{sign}{number}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(f'<text class="mid axis" x="{middle:.1f}" y="{_HEIGHT - 8}">{text(self.axis)}</text>')
        parts.append('<text class="axis" x="4" y="12">faces</text>')
        return parts


def _round_widths() -> list[int]:
    return [digit * 10**power for power in range(10) for digit in (1, 2, 5)]


def _round_up(count: int) -> int:
    """The least even 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten that is not below `count`."""
    steps = [int(digit * 10**power) for power in range(12) for digit in (1, 1.5, 2, 3, 4, 5, 6, 8)]
    return next(step for step in sorted({*steps}) if step >= count and step % 2 == 0)
