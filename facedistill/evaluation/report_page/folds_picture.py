"""How the accuracy varies from fold to fold, one row a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from facedistill.evaluation.report_page.picture import CARD, INK, SOFT, Picture, short_name, style_of
from facedistill.evaluation.verification import VerificationResult

_ROW = 52.0  # points
_SPREAD = 0.36  # of a row's height, over which its dots are spread so that equal ones are seen


def folds_picture(results: Sequence[VerificationResult]) -> Picture:
    """A box and a dot for each fold; one result at least."""
    return Picture(
        "folds",
        "Folds",
        "The accuracy of each held-out fold as a dot; the box holds the middle half of them, the thick stroke is their "
        "mean, which is the accuracy of the table.",
        58 + _ROW * len(results),
        partial(_draw, results),
    )


def _draw(results: Sequence[VerificationResult], axes: Axes) -> None:
    for row, result in enumerate(results):
        accuracies = 100 * np.array(result.folds.accuracies)
        color = style_of(row)["color"]
        first, last = np.quantile(accuracies, [0.25, 0.75])
        axes.barh(row, last - first, _SPREAD + 0.1, left=first, color=SOFT, alpha=0.25, linewidth=0)
        heights = row + np.linspace(-_SPREAD / 2, _SPREAD / 2, len(accuracies))
        axes.plot(accuracies, heights, "o", color=color, markeredgecolor=CARD, markeredgewidth=0.6, markersize=5.5)
        middle, half = 100 * result.accuracy, _SPREAD / 2 + 0.05
        axes.plot([middle, middle], [row - half, row + half], color=INK, linewidth=2.4, solid_capstyle="butt")
        name = f"{short_name(result.name)}: {middle:.2f} ± {100 * result.accuracy_std:.2f} %"
        axes.annotate(
            name,
            (0.0, row - half - 0.06),
            xycoords=axes.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="bottom",
            in_layout=False,
        )
    everything = [100 * accuracy for result in results for accuracy in result.folds.accuracies]
    low, high = min(everything), max(everything)
    margin = max(0.06 * (high - low), 0.1)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(results) - 0.6, -0.72)  # the first on top
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel("accuracy of a fold, %")
