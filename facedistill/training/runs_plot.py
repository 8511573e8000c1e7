"""Draw a figure of several runs in one picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from facedistill.errors import UsageError, unknown_name
from facedistill.files import write_atomically
from facedistill.shown_name import shown_name
from facedistill.training.curves import figures_to_draw, points_of, running_mean, short_count
from facedistill.training.run_summary import RunSummary

# As matplotlib's own ten colours, each with this many kinds of line before a look repeats.
_STYLES = ("-", "--", ":", "-.")
# A line of more points than this is drawn as its running mean, and itself pale behind it.
_FEWEST_SMOOTHED = 150
_SMOOTHED_SHARE = 0.03


def plot_runs(runs: Sequence[RunSummary], path: Path, figures: Sequence[str] = ("loss",)) -> None:
    """Draw one panel a figure, with a line a run, over the steps.

    Runs from before records had a step are drawn over their epochs, and only if all of them are such.

    Raises:
        UsageError: no run has such a figure, the runs have no common x axis, or the suffix of `path` is no image
            format that matplotlib writes.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FigureCanvasAgg(Figure()).get_supported_filetypes():
        raise UsageError(f"a plot cannot be written as '{path.suffix}'", place=path, next_step="Use .png, .svg or .pdf")
    known = dict.fromkeys(name for run in runs for name in figures_of(run))
    names = list(dict.fromkeys(figure.replace("-", "_") for figure in figures))
    for name in names:
        if name not in known:
            raise unknown_name("figure of these runs", name, known)
    by_step = {run.step is not None for run in runs if run.records}
    if len(by_step) > 1:
        raise UsageError(
            "some of these runs count steps and some, of an older version, epochs", next_step="Plot them apart"
        )
    figure = Figure(figsize=(8, 3.4 * len(names) + 0.3 + 0.18 * len(runs)), dpi=130, layout="constrained")
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(len(names), 1, number, sharex=figure.axes[0] if figure.axes else None)
        for place, run in enumerate(runs):
            xs, values = points_of(run.records, name)
            color, style = f"C{place % 10}", _STYLES[place // 10 % len(_STYLES)]
            if len(xs) > _FEWEST_SMOOTHED:
                axes.plot(xs, values, color=color, alpha=0.25, linewidth=0.7)
                values = running_mean(values, round(_SMOOTHED_SHARE * len(xs)))
            few = sum(map(math.isfinite, values)) <= 40
            # A run without the figure still has its line in the legend, so that colours mean the same everywhere.
            axes.plot(
                xs,
                values,
                marker="." if few else None,
                linewidth=1.4,
                label=label_of(run),
                color=color,
                linestyle=style,
            )
        axes.set_title(name.replace("_", " "), fontsize=10, fontweight="bold", loc="left")
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.set_xlabel("step" if True in by_step else "epoch")
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=8, ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix)
    write_atomically(path, picture.getvalue())


def figures_of(run: RunSummary) -> list[str]:
    """The figures of a run that can be drawn, those that its own picture leaves out among them."""
    names = figures_to_draw(run.records)
    return [
        *names,
        *(name for name in ("images_per_second", "gpu_memory", "accuracy_std") if run.last(name) is not None),
    ]


def label_of(run: RunSummary) -> str:
    """The run's name, with nothing before it that matplotlib would take for "leave out of the legend"."""
    name = shown_name(run.name)
    return f"./{name}" if name.startswith("_") else name
