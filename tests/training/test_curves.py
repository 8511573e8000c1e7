from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.data.images import read_image
from facedistill.training import curves
from facedistill.training.curves import (
    draw_figure,
    draw_shares,
    figures_to_draw,
    plot_curves,
    points_of,
    running_mean,
    short_count,
    steps_per_epoch,
)


def made_records(steps: int = 60, per_epoch: int = 20, every: int = 5) -> list[dict[str, Any]]:
    """A record every few steps, with the accuracy at the end of each epoch."""
    records: list[dict[str, Any]] = []
    for step in range(every, steps + 1, every):
        record = {"step": step, "epoch": -(-step // per_epoch), "lr": 0.1, "loss": 1 / step, "gpu_memory": 5}
        if step % per_epoch == 0:
            record |= {"accuracy": 0.9, "accuracy_std": 0.01}
        records.append(record)
    return records


def axes() -> Axes:
    return Figure().add_subplot()


def test_the_file_is_a_picture_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "$}$ & <b>" / "curves.png"
    plot_curves(made_records(), path)
    assert [file.name for file in path.parent.iterdir()] == ["curves.png"]
    height, width, _ = read_image(path).shape
    assert width > height > 200
    before = path.read_bytes()
    plot_curves(made_records(steps=20), path)
    assert path.read_bytes() != before
    plot_curves(made_records(), path.with_suffix(".svg"))
    assert b"$}$ &amp; &lt;b&gt;, epoch 3, step 60" in path.with_suffix(".svg").read_bytes()


def test_a_failed_drawing_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plot_curves(made_records(), tmp_path / "curves.png")
    before = (tmp_path / "curves.png").read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(curves, "write_atomically", fail)
    with pytest.raises(OSError, match="No space left"):
        plot_curves(made_records(), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == before


def test_nothing_to_draw(tmp_path: Path) -> None:
    plot_curves([], tmp_path / "curves.png")
    plot_curves([{"step": 1, "epoch": 1, "loss": math.nan, "gpu_memory": 3}], tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    plot_curves([{"step": 1, "epoch": 1, "loss": 2.0}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").exists()


def test_records_of_older_runs_are_drawn_over_their_epochs(tmp_path: Path) -> None:
    records = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 5)]
    assert points_of(records, "loss") == ([1.0, 2.0, 3.0, 4.0], [1.0, 1 / 2, 1 / 3, 1 / 4])
    plot_curves(records, tmp_path / "curves.svg")
    picture = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert "epoch" in picture
    assert "step" not in picture


def test_which_figures_have_a_panel() -> None:
    records = made_records()
    records[4] |= {"margin": 0.3, "note": "text", "flag": True, "gradient_norm": math.inf, "images_per_second": 9.0}
    assert figures_to_draw(records) == ["loss", "accuracy", "lr", "margin"]


def test_a_line_breaks_where_a_figure_is_missing_for_long_but_not_between_evaluations() -> None:
    records = made_records()
    assert points_of(records, "accuracy") == ([20.0, 40.0, 60.0], [0.9] * 3)
    for record in records[3:7]:
        del record["loss"]
    xs, values = points_of(records, "loss")
    assert xs == [5, 10, 15, 27.5, 40, 45, 50, 55, 60]
    assert [math.isnan(value) for value in values] == [x == 27.5 for x in xs]
    records[0]["loss"] = math.nan
    records[1]["loss"] = None
    xs, values = points_of(records, "loss")
    assert xs[:2] == [5, 15]
    assert math.isnan(values[0])
    assert points_of(records, "no such figure") == ([], [])


def test_many_points_are_smoothed_and_few_are_marked() -> None:
    few, many = axes(), axes()
    draw_figure(few, made_records(), "loss")
    draw_figure(many, made_records(steps=1000), "loss")
    assert [line.get_marker() for line in few.lines] == ["."]
    raw, smooth = many.lines
    assert len(raw.get_xydata()) == len(smooth.get_xydata()) == 200  # type: ignore[arg-type]
    assert raw.get_color() != smooth.get_color()


def test_the_spread_of_the_accuracy_is_a_band() -> None:
    panel = axes()
    draw_figure(panel, made_records(), "accuracy")
    (band,) = panel.collections
    ys = band.get_paths()[0].vertices[:, 1]  # type: ignore[index,call-overload]
    assert (ys.min(), ys.max()) == pytest.approx((0.89, 0.91))


def test_what_does_not_change_is_a_flat_line() -> None:
    panel = axes()
    records = [{"step": step, "margin": 0.35 + 1e-9 * (step % 3)} for step in range(1, 30)]
    draw_figure(panel, records, "margin")
    assert panel.get_ylim() == pytest.approx((0.315, 0.385))


def test_running_mean_by_hand() -> None:
    assert running_mean([1.0, 2.0, 6.0], 1) == pytest.approx([1.5, 3.0, 4.0])
    found = running_mean([0.0, math.nan, 4.0, 5.0], 1)
    assert [found[0], found[2], found[3]] == pytest.approx([0.0, 4.5, 4.5])
    assert math.isnan(found[1])
    # A straight line stays one except near its ends, however wide the window.
    line = [float(number) for number in range(40)]
    assert running_mean(line, 15)[3:-3] == pytest.approx(line[3:-3])


def test_steps_of_an_epoch() -> None:
    assert steps_per_epoch(made_records(steps=50)) == 20
    assert steps_per_epoch(made_records(steps=15)) is None  # the first epoch may be of any length
    assert steps_per_epoch(made_records(steps=20)) is None
    assert steps_per_epoch([{"epoch": 3, "loss": 1.0}]) is None


def test_short_counts() -> None:
    assert [short_count(value) for value in (0, 500, 9000, 12000, 1.5e6)] == ["0", "500", "9000", "12k", "1.5M"]


def test_the_shares_of_a_histogram_are_one_panel(tmp_path: Path) -> None:
    records = [
        {"step": step, "loss": 1.0, "margin_1of3": 0.5, "margin_2of3": 0.3, "margin_3of3": 0.2} for step in (1, 2, 3)
    ]
    assert figures_to_draw(records) == ["loss", "margin_1of3"]
    figure = Figure()
    axes = figure.add_subplot()
    draw_shares(axes, [*records, {"step": 4, "margin_1of3": 1.0}], "margin", 3)
    tops = [max(path.vertices[:, 1].max() for path in band.get_paths()) for band in axes.collections]
    assert tops == pytest.approx([0.5, 0.8, 1.0])
    plot_curves(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0
