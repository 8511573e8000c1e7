"""ROC curves on a logarithmic FAR axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from facedistill.errors import UsageError
from facedistill.evaluation.verification import VerificationResult


def check_plot_path(path: Path) -> None:
    """Raise UsageError where the suffix of `path` is none that matplotlib writes; to be called before the work."""
    if path.suffix.lower().lstrip(".") not in FigureCanvasAgg(Figure()).get_supported_filetypes():
        raise UsageError(f"a plot cannot be written as '{path.suffix}'", place=path, next_step="Use .png, .svg or .pdf")


def plot_roc(results: Sequence[VerificationResult], path: Path) -> None:
    """Draw the ROC of each result, from the lowest FAR that its pairs resolve, with the reported points marked.

    Raises:
        UsageError: the suffix of `path` is no image format that matplotlib writes.
    """
    check_plot_path(path)
    figure = Figure(figsize=(6.4, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    lowest_far, lowest_tar = 1.0, 1.0
    for result in results:
        finest = 1.0 / result.impostor
        # Of the points of one FAR the last is kept: the others are worse thresholds of the same FAR.
        shown = (result.roc.far >= finest) & np.append(np.diff(result.roc.far) > 0, True)
        label = f"{result.name}  ({100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f} %)"
        (line,) = axes.step(result.roc.far[shown], result.roc.tar[shown], where="post", linewidth=1.6, label=label)
        points = [(float(far), point.tar) for far, point in result.operating_points.items() if point is not None]
        axes.plot([far for far, _ in points], [tar for _, tar in points], "o", color=line.get_color(), markersize=4)
        lowest_far = min(lowest_far, finest)
        lowest_tar = min(lowest_tar, float(result.roc.tar[shown][0]), *(tar for _, tar in points))
    axes.set_xscale("log")
    axes.set_xlim(lowest_far, 1.0)
    margin = max(0.08 * (1.0 - lowest_tar), 0.002)
    axes.set_ylim(max(lowest_tar - margin, 0.0), 1.0 + margin / 2)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_xlabel("false accept rate (FAR)")
    axes.set_ylabel("true accept rate (TAR)")
    axes.grid(which="major", color="0.85")
    axes.grid(which="minor", axis="x", color="0.94")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
