"""The study's plot: for each FAR a panel, in it a line a method."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from facedistill.evaluation.tar_intervals import TarIntervals
from facedistill.files import write_atomically


def plot_tars(methods: Sequence[tuple[str, TarIntervals]], path: Path) -> None:
    """Draw every method's TAR: the mean as a dot, its interval over people as a bar, and each seed as a tick."""
    fars = [far for far, interval in methods[0][1].at_far.items() if interval is not None]
    figure = Figure(figsize=(2.2 + 2.9 * max(1, len(fars)), 1.0 + 0.3 * len(methods)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes_of_all = figure.subplots(1, max(1, len(fars)), sharey=True, squeeze=False)[0]
    places = range(len(methods))
    for axes, far in zip(axes_of_all, fars, strict=False):
        for place, (_, tars) in zip(places, methods, strict=True):
            interval = tars.at_far[far]
            if interval is None:
                continue
            axes.plot([interval.low, interval.high], [place, place], color="C0", linewidth=2.2, alpha=0.45)
            axes.plot(interval.by_seed, [place] * len(interval.by_seed), "|", color="0.35", markersize=9)
            axes.plot(interval.estimate, place, "o", color="C0", markersize=5)
        axes.set_title(f"TAR at FAR {far}", fontsize=10, loc="left")
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.grid(axis="x", color="0.88")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    first = axes_of_all[0]
    first.set_yticks(list(places), [name for name, _ in methods])
    first.invert_yaxis()
    for label in first.get_yticklabels():
        label.set_parse_math(False)
    figure.supxlabel("dot: mean over seeds; bar: 95 % interval over people; ticks: seeds", fontsize=8, color="0.35")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
