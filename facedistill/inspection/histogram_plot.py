"""A picture of how many images the identities have."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from facedistill.inspection.image_counts import ImageCounts

# Ours. A spread wider than this factor is cut into bins that double, a narrower one into equal ones.
_WIDE_SPREAD = 8
_MOST_BINS = 20
# Bars that differ by more than this factor stand on a logarithmic axis: the small ones would vanish.
_UNEQUAL_BARS = 50
_FEWEST_PLACES = 6  # of bars in the width of the picture: one alone is not to fill it
_LONGEST_LABELS = 60  # letters of all labels beside one another, above which they are turned


def plot_image_counts(counts: ImageCounts, path: Path) -> None:
    """Draw the number of identities over their number of images; the suffix of `path` decides the format.

    Raises:
        OSError: the file cannot be written.
    """
    bins = choose_bins(min(counts.identities), max(counts.identities))
    heights = [sum(counts.identities.get(count, 0) for count in some) for some in bins]
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(range(len(bins)), heights, width=0.86, color="#4878a8")
    axes.bar_label(bars, [f"{height:,}" if height else "" for height in heights], padding=2, fontsize=8, color="0.25")
    labels = [_label(some) for some in bins]
    turned = sum(map(len, labels)) > _LONGEST_LABELS
    axes.set_xticks(range(len(bins)), labels, fontsize=9, rotation=45 if turned else 0)
    room = max(_FEWEST_PLACES - len(bins), 0) / 2 + 0.7
    axes.set_xlim(-room, len(bins) - 1 + room)
    drawn = [height for height in heights if height]
    if max(drawn) > _UNEQUAL_BARS * min(drawn):
        axes.set_yscale("log")
        axes.set_ylim(0.5, 2.5 * max(drawn))
        axes.yaxis.set_major_locator(LogLocator(base=10))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.12 * max(drawn))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images of an identity")
    axes.set_ylabel("identities")
    axes.set_title(_title(counts), loc="left", fontsize=10)
    axes.grid(axis="y", color="0.88")
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def choose_bins(least: int, most: int) -> list[range]:
    """Ranges of counts, one after the other, that hold `least` to `most`: doubling ones where the spread is wide."""
    if most - least < _MOST_BINS:
        return [range(count, count + 1) for count in range(least, most + 1)]
    if most > _WIDE_SPREAD * least:
        # 1, 2, 3 to 4, 5 to 8, ...
        bins = [range(1, 2)] + [range(2**power // 2 + 1, 2**power + 1) for power in range(1, most.bit_length() + 1)]
        return [some for some in bins if some.stop > least and some.start <= most]
    width = -(-(most - least + 1) // _MOST_BINS)
    return [range(start, start + width) for start in range(least, most + 1, width)]


def _label(some: range) -> str:
    return f"{some.start:,}" if len(some) == 1 else f"{some.start:,}-{some.stop - 1:,}"


def _title(counts: ImageCounts) -> str:
    images = sum(count * number for count, number in counts.identities.items())
    identities = sum(counts.identities.values())
    middle = counts.quantiles["median"]
    return f"{images:,} images of {identities:,} identities, median {middle:g} of each"
