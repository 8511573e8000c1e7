"""Draw a run's records: the loss, and whatever else was logged each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# What is not worth a panel of its own.
LEFT_OUT = {"epoch", "accuracy_std", "images_per_second"}


def plot_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Write one small panel a figure, over the epochs, to an image file.

    Args:
        records: one a epoch, as `metrics.jsonl` holds them.
        path: the file to write; its suffix decides the format.
    """
    from matplotlib.figure import Figure

    names = [name for name in records[-1] if name not in LEFT_OUT]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    epochs = [record["epoch"] for record in records]
    for panel, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, panel)
        values = [record.get(name, float("nan")) for record in records]
        axes.plot(epochs, values, marker="." if len(epochs) < 40 else None, color="#1f5fa8")
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", integer=True, nbins=6)
        if panel > len(names) - columns:
            axes.set_xlabel("epoch", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
