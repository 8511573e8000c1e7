"""A picture of an evaluation, and the look that all of them share: size, colours, axes and legend."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.shown_name import printable

# The page replaces each of these by a variable of its style sheet, so no two may be the same.
INK, SOFT, LINE, CARD = "#1b1f24", "#5b6470", "#dde1e7", "#ffffff"
SERIES = ("#0b5fa5", "#d55e00", "#00805d", "#b0478a")
"""Colours of curves: blue, vermilion, green and purple of unlike brightness, after Okabe and Ito's for all kinds of
colour vision. A curve's kind of line says the same once more."""

LINES = ("-", "--", "-.", ":")

_WIDTH = 400.0  # points; a telephone shows it in about that many pixels, so that the text keeps its size there
_DOTS_PER_INCH = 300.0  # of a PNG
_LONGEST_NAME = 26  # in letters of usual width, so that a legend is no wider than its picture
_PLACES = 500  # a point that lies less than one such part of a picture beside another is not drawn
# So that the same figures give the same bytes.
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_LOOK: dict[str, Any] = {
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.facecolor": CARD,
    "figure.facecolor": CARD,
    "savefig.facecolor": CARD,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "facedistill",
}


@dataclass(frozen=True)
class Picture:
    """One picture, drawn when it is rendered.

    Args:
        name: what its file is called, without a suffix.
        title: its headline.
        meaning: what it shows, one sentence.
        height: in points, of 400 points of width.
        draw: puts it on empty axes.
    """

    name: str
    title: str
    meaning: str
    height: float
    draw: Callable[[Axes], None]

    def render(self, kind: str) -> bytes:
        """The picture as a file of this kind ("svg", "png", "pdf", ...), in the colours of a light page."""
        content = io.BytesIO()
        with _look():
            figure = Figure(figsize=(_WIDTH / 72, self.height / 72), layout="constrained")
            self.draw(figure.add_subplot())
            figure.savefig(content, format=kind, dpi=_DOTS_PER_INCH, metadata=_UNDATED.get(kind))
        return content.getvalue()


@contextmanager
def _look() -> Iterator[None]:
    """Our settings alone, whatever the user's own are."""
    with matplotlib.style.context(["default", _LOOK]), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes in a PNG, and whole in an SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def style_of(index: int) -> dict[str, Any]:
    """Colour and kind of line of the curve with this index; sixteen before a look repeats."""
    place, turn = index % len(SERIES), index // len(SERIES)
    return {"color": SERIES[place], "linestyle": LINES[(place + turn) % len(LINES)]}


def legend_height(entries: int) -> float:
    """Points that a legend below the axes takes."""
    return 18.0 * entries


def legend_below(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """A legend that hides no part of a curve, one entry a line, whatever the names hold."""
    # Under its own name an entry would be left out where that begins with an underscore.
    legend = axes.figure.legend(
        handles, [str(index) for index in range(len(names))], loc="outside lower left", borderaxespad=0.2
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def short_name(name: str) -> str:
    """A name for a legend: printable, and without its middle where it is long."""
    plain = printable(name)
    kept = len(plain)
    while _width(shown := _without_middle(plain, kept)) > _LONGEST_NAME:
        kept -= 1
    return shown


def _without_middle(name: str, kept: int) -> str:
    return name if kept == len(name) else f"{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}"


def _width(name: str) -> int:
    """In letters of usual width; Chinese, Japanese and Korean ones are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)


def visible_points(across: npt.NDArray[np.float64], upwards: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Indices of those points of a curve that can be told from the ones before, so that millions make no large file.

    Args:
        across: (K,) finite positions along the x axis.
        upwards: (K,) along the y axis.
    """
    if not len(across):
        return np.empty(0, dtype=np.int64)
    moved = np.zeros(len(across), dtype=np.bool_)
    moved[[0, -1]] = True
    for positions in (across, upwards):
        extent = float(np.ptp(positions)) or 1.0
        moved[1:] |= np.diff(np.round((positions - positions.min()) * (_PLACES / extent))) != 0
    return np.flatnonzero(moved)
