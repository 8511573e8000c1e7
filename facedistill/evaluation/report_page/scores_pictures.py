"""The scores of one benchmark's pairs: their histograms, and what every threshold would do with them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.report_page.picture import CARD, INK, SERIES, SOFT, Picture, legend_below, legend_height
from facedistill.evaluation.verification import VerificationResult

FloatArray = npt.NDArray[np.float64]

_MOST_BARS = 60
_THRESHOLDS = 501  # of the curves
_MARK = 15.0  # points between the labels of two thresholds
_LABEL = 0.38  # of the width of the axes, which such a label takes at most


def histogram_picture(result: VerificationResult, judged: JudgedPairs, stem: str) -> Picture:
    """Histograms of the cosines of genuine and impostor pairs, with the thresholds marked.

    Args:
        result: of one benchmark.
        judged: its pairs.
        stem: what the names of its files begin with.
    """
    return Picture(
        f"{stem}-scores",
        "Scores",
        "How similar the pairs of one person and those of two are: the less the two hills overlap, the better; "
        "a pair is accepted to the right of a threshold.",
        222 + _MARK * len(result.thresholds) + legend_height(2),
        partial(_draw_histogram, result, judged),
    )


def thresholds_picture(result: VerificationResult, judged: JudgedPairs, stem: str) -> Picture:
    """FAR, share of refused genuine pairs and accuracy over the cosine threshold; arguments as above."""
    return Picture(
        f"{stem}-thresholds",
        "Thresholds",
        "What each threshold would do with these pairs: a higher one lets fewer impostor pairs in and refuses more "
        "genuine ones; the vertical stroke is the threshold of best accuracy.",
        236 + legend_height(3),
        partial(_draw_thresholds, result, judged),
    )


def cosines_of(judged: JudgedPairs) -> FloatArray:
    """(P,) cosine of each pair, -1..1."""
    return np.asarray(1.0 - judged.distances / 2.0, dtype=np.float64)


def bin_edges(cosines: FloatArray) -> FloatArray:
    """(B + 1,) edges of at most sixty bars of one round width that hold every score."""
    low, high = float(cosines.min()), float(cosines.max())
    for width in (0.005, 0.01, 0.02, 0.04, 0.05):
        first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
        last = max(last, first + 1)  # all scores equal
        if last - first <= _MOST_BARS:
            break
    return np.asarray(np.arange(first, last + 1) * width, dtype=np.float64)


def shares(cosines: FloatArray, edges: FloatArray) -> FloatArray:
    """(B,) share of the scores in each bar, 1 in all: one that rounding puts beside the outer edges counts as well."""
    counts, _ = np.histogram(np.clip(cosines, edges[0], edges[-1]), edges)
    return np.asarray(counts / len(cosines), dtype=np.float64)


def threshold_rates(judged: JudgedPairs, thresholds: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """FAR, share of refused genuine pairs and accuracy, (T,) fractions each.

    Args:
        judged: the pairs; one is accepted where its distance is below the threshold.
        thresholds: (T,) squared L2 distances.
    """
    genuine, impostor = np.sort(judged.distances[judged.same]), np.sort(judged.distances[~judged.same])
    accepted, let_in = (np.searchsorted(part, thresholds, side="left") for part in (genuine, impostor))
    accuracy = (accepted + len(impostor) - let_in) / len(judged.same)
    return let_in / len(impostor), 1.0 - accepted / len(genuine), accuracy


def _draw_histogram(result: VerificationResult, judged: JudgedPairs, axes: Axes) -> None:
    cosines = cosines_of(judged)
    edges = bin_edges(cosines)
    hills = []
    for mine, color, style in ((judged.same, SERIES[0], "-"), (~judged.same, SERIES[1], "--")):
        share = 100 * shares(cosines[mine], edges)
        axes.stairs(share, edges, fill=True, color=color, alpha=0.35, linewidth=0)
        hills.append(axes.stairs(share, edges, color=color, linestyle=style, linewidth=1.5))
    margin = 0.02 * (edges[-1] - edges[0])
    axes.set_xlim(edges[0] - margin, edges[-1] + margin)
    axes.set_ylim(bottom=0)
    _mark(axes, {use: values["cosine"] for use, values in result.thresholds.items()})
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("cosine")
    axes.set_ylabel("pairs of a kind, %")
    legend_below(axes, hills, [f"{result.genuine:,} genuine pairs", f"{result.impostor:,} impostor pairs"])


def _mark(axes: Axes, thresholds: dict[str, float]) -> None:
    """A stroke for each threshold, with its label above the axes in a row of its own.

    No stroke crosses a label: of strokes with labels to their right the leftmost is the longest, and the other way
    round. Only where thresholds lie at both ends of the axis, labels of either kind stand among one another.
    """
    low, high = axes.get_xlim()
    inside = {use: cosine for use, cosine in thresholds.items() if low <= cosine <= high}
    places = {use: (cosine - low) / (high - low) for use, cosine in inside.items()}
    if max(places.values(), default=0.0) <= 1 - _LABEL:
        border = 1.0
    elif min(places.values()) >= _LABEL:
        border = 0.0
    else:
        border = 0.5
    to_the_left = sorted((use for use in inside if places[use] > border), key=inside.__getitem__)
    to_the_right = sorted((use for use in inside if places[use] <= border), key=inside.__getitem__, reverse=True)
    for row, use in enumerate([*to_the_left, *to_the_right]):
        cosine, is_right = inside[use], places[use] <= border
        above: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        stroke = {"arrowstyle": "-", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
        axes.axvline(cosine, color=INK, linewidth=0.9)
        axes.annotate("", (cosine, 1.0), xytext=(0, 14 + _MARK * row), arrowprops=stroke, **above)
        axes.annotate(
            f"{use if use == 'accuracy' else f'FAR {use}'}: {cosine:.3f}",
            (cosine, 1.0),
            xytext=(4 if is_right else -4, 3 + _MARK * row),
            ha="left" if is_right else "right",
            bbox={"facecolor": CARD, "linewidth": 0, "pad": 0.5},
            **above,
        )


def _draw_thresholds(result: VerificationResult, judged: JudgedPairs, axes: Axes) -> None:
    edges = bin_edges(cosines_of(judged))
    cosines = np.linspace(edges[0], edges[-1], _THRESHOLDS)
    lines = []
    for rate, color, style in zip(
        threshold_rates(judged, 2.0 - 2.0 * cosines), (SERIES[1], SERIES[0], SERIES[2]), ("--", "-", "-."), strict=True
    ):
        lines += axes.plot(cosines, 100 * rate, color=color, linestyle=style)
    axes.axvline(result.thresholds["accuracy"]["cosine"], color=SOFT, linewidth=1.0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-1, 101)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("cosine threshold")
    axes.set_ylabel("share of pairs, %")
    legend_below(axes, lines, ["impostor pairs accepted (FAR)", "genuine pairs refused", "accuracy on all pairs"])
