"""Accuracy against latency: which model is worth its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from facedistill.bench.latency import Latency
from facedistill.errors import UsageError
from facedistill.evaluation.report_page.picture import (
    SERIES,
    SOFT,
    Picture,
    legend_below,
    legend_height,
    short_name,
)
from facedistill.evaluation.roc_plot import check_plot_path
from facedistill.files import write_atomically
from facedistill.saved_results import PairFigures

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_PANEL_HEIGHT = 210.0  # points
_WIDE = 8.0  # slowest / fastest from which the axis is logarithmic (ours)


@dataclass(frozen=True)
class PlottedModel:
    """A point, or one in each panel.

    Args:
        name: for the legend.
        latency: of one face.
        accuracies: pair list -> what it reaches there.
    """

    name: str
    latency: Latency
    accuracies: Mapping[str, PairFigures]


def plot_accuracy(models: Sequence[PlottedModel], path: Path) -> None:
    """Write the picture of `accuracy_picture` to an image file.

    Raises:
        UsageError: as of `accuracy_picture`, or the suffix of `path` is no image format that matplotlib writes.
    """
    check_plot_path(path)
    write_atomically(path, accuracy_picture(models).render(path.suffix.lower().lstrip(".")))


def accuracy_picture(models: Sequence[PlottedModel]) -> Picture:
    """A panel for each pair list: accuracy in % over ms a face, each with the range that the figure is known to.

    Raises:
        UsageError: no model has an accuracy.
    """
    benchmarks = list(dict.fromkeys(name for model in models for name in model.accuracies))
    if not benchmarks:
        raise UsageError("no accuracy is known, so there is nothing to plot", next_step="Give results with --accuracy")
    shown = [model for model in models if model.accuracies]
    threads = shown[0].latency.threads

    def draw(axes: Axes) -> None:
        figure = axes.get_figure(root=True)
        assert figure is not None  # noqa: S101
        axes.remove()
        panels = figure.subplots(len(benchmarks), 1, sharex=True, squeeze=False)[:, 0]
        for name, panel in zip(benchmarks, panels, strict=True):
            _draw_panel(panel, name, shown)
        figure.align_ylabels(panels)
        panels[-1].set_xlabel(f"ms a face, {threads} thread{'s' if threads > 1 else ''} of the CPU")
        handles = [Line2D([], [], **_look(index), linestyle="none") for index in range(len(shown))]
        legend_below(panels[-1], handles, [short_name(model.name) for model in shown])

    return Picture(
        "accuracy-latency",
        "Accuracy against latency",
        "Above and to the left is better; bars show the 95 % interval of the accuracy and 80 % of the calls.",
        _PANEL_HEIGHT * len(benchmarks) + 30 + legend_height(len(shown)),
        draw,
    )


def _draw_panel(panel: Axes, benchmark: str, models: Sequence[PlottedModel]) -> None:
    times = [each for model in models for each in (model.latency.low, model.latency.high)]
    if max(times) > _WIDE * min(times):
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    for index, model in enumerate(models):
        figures = model.accuracies.get(benchmark)
        if figures is None:
            continue
        low, high = _ends(figures)
        latency = model.latency
        panel.errorbar(
            [1e3 * latency.median],
            [100 * figures.accuracy],
            xerr=[[1e3 * (latency.median - latency.low)], [1e3 * (latency.high - latency.median)]],
            yerr=[[100 * max(0.0, figures.accuracy - low)], [100 * max(0.0, high - figures.accuracy)]],
            **_look(index),
            ecolor=SOFT,
            elinewidth=0.8,
        )
    panel.margins(0.12)
    panel.set_title(short_name(benchmark), loc="left", fontsize=12)
    panel.set_ylabel("accuracy, %")


def _ends(figures: PairFigures) -> tuple[float, float]:
    """The interval of the accuracy, the value itself where there is none."""
    return (figures.intervals or {}).get("accuracy") or (figures.accuracy, figures.accuracy)


def _look(index: int) -> dict[str, Any]:
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 7.0}
