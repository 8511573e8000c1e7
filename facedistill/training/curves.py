"""Draw a run's records: the loss, and whatever else was logged, over the steps."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facedistill.files import write_atomically
from facedistill.shown_name import shown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What is not worth a panel of its own.
LEFT_OUT = {"step", "epoch", "accuracy_std", "images_per_second", "gpu_memory"}
# What comes first, if there is any; the rest follows in the order in which it was logged.
FIRST = ("loss", "accuracy", "train_accuracy")
# All ours. Up to so many points each is marked; from so many on they are pale, and their running mean is drawn too.
_MOST_MARKED = 40
_FEWEST_SMOOTHED = 150
_SMOOTHED_SHARE = 0.05  # of the points, before and after a point, that its running mean is over
_FEWEST_NEIGHBOURS = 3  # of them even at the ends
# A line is broken where a figure is missing for longer than so many times its usual interval.
_GAP = 2.5
# A figure that varies by less than this share of itself is drawn as one that does not.
_FLAT = 1e-3
_BLUE, _PALE = "#1f5fa8", "#9dbfe3"
# A histogram is logged as its shares, NAME_1of5 to NAME_5of5, which make one panel together.
_SHARE = re.compile(r"(?P<name>.+)_(?P<part>\d+)of(?P<parts>\d+)")


def plot_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Write one small panel a figure to an image file, whole or not at all; nothing where there is no figure.

    Args:
        records: as `metrics.jsonl` holds them. Those of older runs have no "step" and are drawn over their epochs.
        path: the file to write; its suffix decides the format, and its folder is the run that the title names.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    names = figures_to_draw(records)
    if not names:
        return
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 4.2), 2.4 * rows + 0.5), layout="constrained")
    epoch_length = steps_per_epoch(records)
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        share = _SHARE.fullmatch(name)
        if share is None:
            draw_figure(axes, records, name)
        else:
            draw_shares(axes, records, share["name"], int(share["parts"]))
            name = f"{share['name']} (shares, low to high)"
        axes.set_title(name.replace("_", " "), fontsize=10, fontweight="bold", loc="left")
        label_steps(axes, records, epoch_length, top=number < columns, bottom=number >= len(names) - columns)
    title = figure.suptitle(describe(records, path), fontsize=11, x=0.01, ha="left")
    title.set_parse_math(False)  # a folder may be called $1
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format=path.suffix.lstrip(".") or "png")
    write_atomically(path, picture.getvalue())


def figures_to_draw(records: Sequence[dict[str, Any]]) -> list[str]:
    """The figures that have a panel: those that some record has a number of, a histogram by its first share."""
    names = dict.fromkeys(
        name for record in records for name, value in record.items() if name not in LEFT_OUT and is_number(value)
    )
    names = {name: None for name in names if (share := _SHARE.fullmatch(name)) is None or share["part"] == "1"}
    return [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]


def is_number(value: object) -> bool:
    """Whether it is a finite number that is no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def place_of(record: dict[str, Any]) -> float:
    """Where a record stands on the x axis: its step, or its epoch where it knows no step."""
    return float(record.get("step", record.get("epoch", math.nan)))


def points_of(records: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Places and values of a figure, without the records that lack it.

    A NaN stands where the figure is not finite, and where it is missing for longer than usual, so that a line drawn
    through the points breaks there. What is made at evaluations only is not broken by the records between them.
    """
    there = [(place_of(record), record[name]) for record in records if isinstance(record.get(name), int | float)]
    there = [(x, value if is_number(value) else math.nan) for x, value in there if math.isfinite(x)]
    intervals = sorted(later - earlier for (earlier, _), (later, _) in itertools.pairwise(there))
    usual = intervals[len(intervals) // 2] if intervals else 0.0
    xs: list[float] = []
    values: list[float] = []
    for x, value in there:
        if xs and x - xs[-1] > _GAP * usual > 0:
            xs.append((x + xs[-1]) / 2)
            values.append(math.nan)
        xs.append(x)
        values.append(value)
    return xs, values


def draw_figure(axes: Axes, records: Sequence[dict[str, Any]], name: str) -> None:
    """Draw one figure; the accuracy with its spread over the folds."""
    xs, values = points_of(records, name)
    if len(xs) < _FEWEST_SMOOTHED:
        axes.plot(xs, values, marker="." if len(xs) <= _MOST_MARKED else None, color=_BLUE, linewidth=1.4)
    else:
        axes.plot(xs, values, color=_PALE, linewidth=0.8)
        axes.plot(xs, running_mean(values, round(_SMOOTHED_SHARE * len(xs))), color=_BLUE, linewidth=1.6)
    spreads = dict(zip(*points_of(records, f"{name}_std"), strict=True))
    if spreads:
        spread = [spreads.get(x, math.nan) for x in xs]
        axes.fill_between(
            xs,
            [value - width for value, width in zip(values, spread, strict=True)],
            [value + width for value, width in zip(values, spread, strict=True)],
            color=_BLUE,
            alpha=0.15,
            linewidth=0,
        )
    seen = [value for value in values if math.isfinite(value)]
    middle = sum(seen) / len(seen)
    if max(seen) - min(seen) < _FLAT * abs(middle):
        # What does not change is a flat line, and not the noise of its last decimal places.
        axes.set_ylim(middle - 0.1 * abs(middle), middle + 0.1 * abs(middle))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def draw_shares(axes: Axes, records: Sequence[dict[str, Any]], name: str, parts: int) -> None:
    """Draw the shares of a histogram above one another, the lowest bin at the bottom and palest."""
    from matplotlib import colormaps

    labels = [f"{name}_{part}of{parts}" for part in range(1, parts + 1)]
    complete = [record for record in records if all(is_number(record.get(label)) for label in labels)]
    shares = [[record[label] for record in complete] for label in labels]
    colours = [colormaps["Blues"](0.15 + 0.75 * part / max(1, parts - 1)) for part in range(parts)]
    axes.stackplot([place_of(record) for record in complete], shares, colors=colours)
    axes.set_ylim(0, 1)
    axes.spines[["right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Each value's mean with up to `width` values before it and as many after it that are finite; NaN stays NaN."""
    means = []
    for number, value in enumerate(values):
        # Fewer near the ends, where a steep curve would be bent by having neighbours on one side only.
        reach = min(width, max(_FEWEST_NEIGHBOURS, min(number, len(values) - 1 - number)))
        near = [other for other in values[max(0, number - reach) : number + reach + 1] if math.isfinite(other)]
        means.append(sum(near) / len(near) if math.isfinite(value) else math.nan)
    return means


def steps_per_epoch(records: Sequence[dict[str, Any]]) -> float | None:
    """Steps of an epoch, None where no record tells: each epoch's last record stands at its end.

    The epoch in progress may not have come to its end, so the first one alone says nothing.
    """
    known = [record for record in records if "step" in record and "epoch" in record]
    if not known:
        return None
    current = max(record["epoch"] for record in known)
    ended = [record["step"] / record["epoch"] for record in known if 0 < record["epoch"] < current]
    return max(ended) if ended else None


def label_steps(
    axes: Axes, records: Sequence[dict[str, Any]], epoch_length: float | None, *, top: bool, bottom: bool
) -> None:
    """Steps below the panels, the same in each, and above the uppermost ones the epochs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max(place_of(record) for record in records)
    axes.set_xlim(-0.03 * last, 1.03 * last)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    if bottom:
        axes.set_xlabel("step" if any("step" in record for record in records) else "epoch", fontsize=9)
    if epoch_length and top:
        length = epoch_length
        epochs = axes.secondary_xaxis(
            "top", functions=(lambda steps: np.asarray(steps) / length, lambda epochs: np.asarray(epochs) * length)
        )
        epochs.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        epochs.tick_params(labelsize=7, colors="0.45", length=2)
        epochs.set_xlabel("epoch", fontsize=8, color="0.45", labelpad=2)
    else:
        axes.spines[["top"]].set_visible(False)


def short_count(value: float) -> str:
    """12000 as 12k, 1500000 as 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) >= 1e4:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def describe(records: Sequence[dict[str, Any]], path: Path) -> str:
    """The run's name, and how far it is."""
    last = records[-1]
    parts = [shown_name(path.resolve().parent.name)]
    parts += [f"{name} {last[name]:,}" for name in ("epoch", "step") if isinstance(last.get(name), int)]
    return ", ".join(parts)
