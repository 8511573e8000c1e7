from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from facedistill.inspection.histogram_plot import plot_image_counts
from facedistill.inspection.image_counts import ImageCounts, image_counts


def counts_of(images: list[int]) -> ImageCounts:
    counts = image_counts(np.repeat(np.arange(len(images)), images))
    assert counts is not None
    return counts


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_the_bars_are_the_identities(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_image_counts(counts_of([1] * 300 + [2, 2, 3, 40]), tmp_path / "new" / "h.png")
    assert (tmp_path / "new" / "h.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn[0].axes
    heights = [bar.get_height() for bar in axes.patches]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert dict(zip(labels, heights, strict=True)) == {
        "1": 300, "2": 2, "3-4": 1, "5-8": 0, "9-16": 0, "17-32": 0, "33-64": 1,
    }  # fmt: skip
    assert axes.get_yscale() == "log"  # 300 beside 1
    assert axes.get_title(loc="left") == "347 images of 304 identities, median 1 of each"


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_equal_counts(tmp_path: Path, drawn: list[Figure], suffix: str) -> None:
    plot_image_counts(counts_of([8] * 200), tmp_path / f"h{suffix}")
    (axes,) = drawn[0].axes
    assert [bar.get_height() for bar in axes.patches] == [200]
    assert axes.get_yscale() == "linear"
    left, right = axes.get_xlim()
    assert right - left > 5  # the one bar does not fill the picture
