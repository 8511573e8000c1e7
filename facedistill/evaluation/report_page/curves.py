"""ROC and DET curves, one a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)

from facedistill.evaluation.metrics import far_label
from facedistill.evaluation.report_page.picture import (
    SOFT,
    Picture,
    legend_below,
    legend_height,
    short_name,
    style_of,
    visible_points,
)
from facedistill.evaluation.verification import VerificationResult

FloatArray = npt.NDArray[np.float64]

_MARKERS = ("o", "s", "^", "D")
# Error rates that a DET plot has lines for; the upper ones only where a model is that bad.
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_LOWEST_END, _USUAL_END, _WORST_END = 1e-3, 0.4, 0.99
_BAD_EER = 0.3  # above it a curve does not fit into the usual part


def roc_picture(results: Sequence[VerificationResult]) -> Picture:
    """TAR over FAR on a logarithmic axis, with the reported points marked; one result at least."""
    return Picture(
        "roc",
        "ROC",
        "The share of genuine pairs that are accepted, for every share of impostor pairs that are let in as well; "
        "higher is better. Dots mark the figures of the table, and the legend gives the accuracies.",
        270 + legend_height(len(results)),
        partial(_draw_roc, results),
    )


def det_picture(results: Sequence[VerificationResult]) -> Picture:
    """The share of refused genuine pairs over FAR, both on normal deviate axes; one result at least."""
    return Picture(
        "det",
        "DET",
        "The two kinds of error against each other, on axes that make normally distributed scores a straight line; "
        "lower is better. Dots on the diagonal mark the equal error rate (EER).",
        290 + legend_height(len(results)),
        partial(_draw_det, results),
    )


def deviate(rate: float) -> float:
    """The point of the standard normal distribution below which this share of it lies; 0 < rate < 1."""
    return NormalDist().inv_cdf(rate)


def roc_points(result: VerificationResult) -> tuple[FloatArray, FloatArray]:
    """FAR and TAR, (K,) each, from the lowest FAR that the impostor pairs resolve; of one FAR the best TAR."""
    curve = result.roc
    shown = np.flatnonzero((curve.far >= 1.0 / result.impostor) & np.append(np.diff(curve.far) > 0, True))
    far, tar = curve.far[shown], curve.tar[shown]
    kept = visible_points(np.log(far), tar)
    return far[kept], tar[kept]


def det_points(result: VerificationResult) -> tuple[FloatArray, FloatArray]:
    """FAR and share of refused genuine pairs, (K,) each, where neither is 0 or 1; empty for a perfect model."""
    far, refused = result.roc.far, 1.0 - result.roc.tar
    # A share of none is a rounding error away from none.
    inside = (far > 0) & (far < 1) & (refused > 0.5 / result.genuine) & (refused < 1)
    far, refused = far[inside], refused[inside]
    # A logit is nearly a normal deviate, and can be had for millions of points at once.
    kept = visible_points(*(np.log(rate / (1.0 - rate)) for rate in (far, refused)))
    return far[kept], refused[kept]


def _draw_roc(results: Sequence[VerificationResult], axes: Axes) -> None:
    lines, names = [], []
    lowest_far, lowest_tar = 1.0, 1.0
    for index, result in enumerate(results):
        far, tar = roc_points(result)
        (line,) = axes.step(far, tar, where="post", **style_of(index))
        points = [(float(label), point.tar) for label, point in result.operating_points.items() if point is not None]
        marker = _MARKERS[index % len(_MARKERS)]
        axes.plot(*zip(*points, strict=True), marker, color=line.get_color(), markersize=5) if points else None
        lines.append(line)
        names.append(f"{short_name(result.name)}: {100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f} %")
        lowest_far = min(lowest_far, 1.0 / result.impostor)
        lowest_tar = min(lowest_tar, float(tar[0]), *(tar for _, tar in points))
    axes.set_xscale("log")
    axes.set_xlim(min(lowest_far, 0.1), 1.0)
    margin = max(0.08 * (1.0 - lowest_tar), 0.002)
    lowest_tar = max(lowest_tar - margin, 0.0)
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda far, _: "1" if far == 1 else far_label(far)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    # Not above 1, where the axis goes on for the sake of the line alone.
    axes.set_yticks([tick for tick in MaxNLocator(6).tick_values(lowest_tar, 1.0) if lowest_tar <= tick <= 1 + 1e-9])
    axes.set_ylim(lowest_tar, 1.0 + margin / 2)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_xlabel("false accept rate (FAR)")
    axes.set_ylabel("true accept rate (TAR)")
    legend_below(axes, lines, names)


def _draw_det(results: Sequence[VerificationResult], axes: Axes) -> None:
    lines, names = [], []
    end = _WORST_END if any(result.roc.equal_error_rate > _BAD_EER for result in results) else _USUAL_END
    for index, result in enumerate(results):
        far, refused = det_points(result)
        (line,) = axes.step(
            [deviate(rate) for rate in far], [deviate(rate) for rate in refused], where="post", **style_of(index)
        )
        lines.append(line)
        rate = result.roc.equal_error_rate
        if 0 < rate < 1 and len(far):
            marker = _MARKERS[index % len(_MARKERS)]
            axes.plot(deviate(rate), deviate(rate), marker, color=line.get_color(), markersize=5)
        errors = f"EER {100 * rate:.2f} %" if len(far) else "no errors to draw"
        names.append(f"{short_name(result.name)}: {errors}")
    lowest = [
        max(min([_LOWEST_END, *(1.0 / count for count in counts)]), _TICKS[0])
        for counts in ([result.impostor for result in results], [result.genuine for result in results])
    ]
    for axis, low in zip((axes.xaxis, axes.yaxis), lowest, strict=True):
        rates = [rate for rate in _TICKS if low <= rate * (1 + 1e-9) and rate <= end]
        axis.set_major_locator(FixedLocator([deviate(rate) for rate in rates]))
        axis.set_major_formatter(FuncFormatter(lambda position, _: f"{100 * NormalDist().cdf(position):.4g}"))
        axis.set_minor_locator(NullLocator())
    axes.set_xlim(deviate(lowest[0] * 0.9), deviate(end))
    axes.set_ylim(deviate(lowest[1] * 0.9), deviate(end))
    axes.axline((0.0, 0.0), slope=1.0, color=SOFT, linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set_xlabel("impostor pairs accepted (FAR), %")
    axes.set_ylabel("genuine pairs refused, %")
    legend_below(axes, lines, names)
