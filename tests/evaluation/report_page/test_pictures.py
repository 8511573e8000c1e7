"""That the pictures show the figures themselves, and how they look on a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as Tree

import matplotlib
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from facedistill.data.images import read_image
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page import picture as picture_module
from facedistill.evaluation.report_page.curves import det_picture, det_points, deviate, roc_picture, roc_points
from facedistill.evaluation.report_page.folds_picture import folds_picture
from facedistill.evaluation.report_page.inline_svg import VARIABLES, inline_svg
from facedistill.evaluation.report_page.page_style import REPORT_STYLE
from facedistill.evaluation.report_page.picture import Picture, short_name, style_of, visible_points
from facedistill.evaluation.report_page.pictures import benchmark_pictures, file_stems, shared_pictures, write_pictures
from facedistill.evaluation.report_page.scores_pictures import (
    bin_edges,
    histogram_picture,
    shares,
    threshold_rates,
    thresholds_picture,
)
from facedistill.evaluation.verification import VerificationResult, evaluate_embeddings

NoisyResult = Callable[..., VerificationResult]
Judge = Callable[[list[float], list[float]], JudgedPairs]


def drawn(picture: Picture) -> Axes:
    with picture_module._look():
        figure = Figure(figsize=(400 / 72, picture.height / 72), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        picture.draw(axes)
        figure.canvas.draw()
    return axes


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]


def tick_labels(axis: Any) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def result_of(judged: JudgedPairs, name: str = "made") -> VerificationResult:
    """A result with these very distances: the pair of number i is e_0 and a vector at that distance."""
    cosines = 1 - judged.distances / 2
    others = np.stack([cosines, np.sqrt(np.clip(1 - cosines**2, 0, None))], axis=1)
    embeddings = np.concatenate([[[1.0, 0.0]], others])
    pairs = np.stack([np.zeros(len(others), dtype=np.int64), 1 + np.arange(len(others))], axis=1)
    return evaluate_embeddings(embeddings, pairs, judged.same, name=name)


def test_the_roc_is_that_of_the_scores(noisy_result: NoisyResult) -> None:
    result = noisy_result(1, noise=0.9)
    assert result.judged is not None
    far, tar, _ = sklearn.metrics.roc_curve(result.judged.same, -result.judged.distances, drop_intermediate=False)
    best = {float(rate): float(tar[far == rate].max()) for rate in far if rate >= 1 / result.impostor}
    shown_far, shown_tar = roc_points(result)
    assert dict(zip(shown_far.tolist(), shown_tar.tolist(), strict=True)).items() <= best.items()
    # Whatever was left out is no higher than its neighbour by more than the eye could see.
    for rate, value in best.items():
        kept = shown_tar[shown_far <= rate][-1]
        assert value - kept <= 2 / 500


def test_what_the_roc_draws(noisy_result: NoisyResult) -> None:
    results = [noisy_result(1, noise=0.6), replace(noisy_result(2, noise=0.4), name="_other")]
    axes = drawn(roc_picture(results))
    curves, dots = axes.lines[::2], axes.lines[1::2]
    for result, curve, marks in zip(results, curves, dots, strict=True):
        assert np.array_equal(curve.get_xydata().T, roc_points(result))
        points = [(float(far), point.tar) for far, point in result.operating_points.items() if point is not None]
        assert np.array_equal(marks.get_xydata(), points)
        assert marks.get_color() == curve.get_color()
    assert curves[0].get_linestyle() != curves[1].get_linestyle()
    assert legend(axes) == [
        f"{result.name}: {100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f} %" for result in results
    ]
    assert axes.get_xlim() == (1 / 160, 1)
    assert tick_labels(axes.xaxis) == ["1e-2", "1e-1", "1"]


def test_normal_deviates() -> None:
    for rate in (1e-6, 0.001, 0.05, 0.5, 0.84, 0.999):
        assert deviate(rate) == pytest.approx(scipy.stats.norm.ppf(rate), rel=1e-6, abs=1e-12)


def test_the_det_shows_both_errors(judge: Judge) -> None:
    rng = np.random.default_rng(0)
    judged = judge(rng.normal(0.8, 0.3, 60).clip(0, 4).tolist(), rng.normal(1.6, 0.3, 80).clip(0, 4).tolist())
    result = result_of(judged)
    assert result.judged is not None
    expected = set()
    for threshold in [*result.judged.distances, 5.0]:
        accepted = result.judged.distances < threshold
        far, refused = np.mean(accepted[~judged.same]), np.mean(~accepted[judged.same])
        if 0 < far < 1 and 0 < refused < 1:
            expected.add((round(far, 9), round(refused, 9)))
    points = det_points(result)
    assert {(round(far, 9), round(refused, 9)) for far, refused in zip(*points, strict=True)} == expected
    axes = drawn(det_picture([result]))
    assert axes.lines[0].get_xdata() == pytest.approx(scipy.stats.norm.ppf(points[0]), abs=1e-9)
    assert axes.lines[0].get_ydata() == pytest.approx(scipy.stats.norm.ppf(points[1]), abs=1e-9)
    assert axes.lines[1].get_xdata() == pytest.approx(scipy.stats.norm.ppf([result.roc.equal_error_rate]))
    assert tick_labels(axes.xaxis) == ["0.1", "1", "5", "20", "40"]
    assert legend(axes) == [f"made: EER {100 * result.roc.equal_error_rate:.2f} %"]


def test_the_det_of_a_perfect_and_of_an_inverted_model(judge: Judge) -> None:
    perfect = result_of(judge([0.5] * 30, [1.5] * 40))
    axes = drawn(det_picture([perfect]))
    assert len(axes.lines[0].get_xdata()) == 0
    assert legend(axes) == ["made: no errors to draw"]
    inverted = result_of(judge(np.linspace(1, 2, 30).tolist(), np.linspace(0.5, 1.5, 40).tolist()))
    axes = drawn(det_picture([inverted]))
    assert tick_labels(axes.yaxis)[-1] == "99"
    (far,), (refused,) = axes.lines[1].get_xdata(), axes.lines[1].get_ydata()
    assert axes.get_xlim()[0] < far < axes.get_xlim()[1]
    assert axes.get_ylim()[0] < refused < axes.get_ylim()[1]


def test_more_pairs_have_lower_ticks(judge: Judge) -> None:
    rng = np.random.default_rng(0)
    axes = drawn(det_picture([result_of(judge(rng.uniform(0, 2, 50).tolist(), rng.uniform(1, 4, 20_000).tolist()))]))
    assert tick_labels(axes.xaxis)[0] == "0.01"
    assert tick_labels(axes.yaxis)[0] == "0.1"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_points_left_out_are_beside_one_that_is_drawn(steps: list[tuple[float, float]]) -> None:
    across, upwards = np.cumsum(np.array(steps) ** 8, axis=0).T
    kept = visible_points(across, upwards)
    assert kept[0] == 0
    assert kept[-1] == len(steps) - 1
    assert np.all(np.diff(kept) > 0)
    for index in range(len(steps)):
        last = kept[kept <= index][-1]
        for positions in (across, upwards):
            assert positions[index] - positions[last] <= (np.ptp(positions) or 1.0) / 500 * (1 + 1e-9)


def test_millions_of_points_are_few_when_drawn() -> None:
    rng = np.random.default_rng(0)
    across, upwards = np.sort(rng.random((2, 1_000_000)), axis=1)
    assert 500 <= len(visible_points(across, upwards)) <= 1003
    assert visible_points(np.empty(0), np.empty(0)).tolist() == []


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_bars_hold_every_score(scores: list[float]) -> None:
    edges = bin_edges(np.array(scores))
    assert 2 <= len(edges) <= 61
    assert np.allclose(np.diff(edges), edges[1] - edges[0])
    assert edges[0] <= min(scores) + 1e-9
    assert max(scores) <= edges[-1] + 1e-9
    assert shares(np.array(scores), edges).sum() == pytest.approx(1)


def test_the_histogram_is_of_the_scores(judge: Judge) -> None:
    # Cosines 0.9, 0.9, 0.7, 0.5 and 0.1, 0.3.
    judged = judge([0.2, 0.2, 0.6, 1.0], [1.8, 1.4])
    result = result_of(judge([0.2, 0.2, 0.6, 1.0] * 10, [1.8, 1.4] * 10))
    axes = drawn(histogram_picture(result, judged, "made"))
    genuine, _, impostor, _ = (hill.get_data() for hill in axes.patches)
    for data, expected in ((genuine, {0.9: 50, 0.7: 25, 0.5: 25}), (impostor, {0.1: 50, 0.3: 50})):
        filled = np.flatnonzero(data.values)
        assert data.values[filled].tolist() == [expected[key] for key in sorted(expected)]
        for cosine, low, high in zip(sorted(expected), data.edges[filled], data.edges[filled + 1], strict=True):
            assert low - 1e-9 <= cosine <= high + 1e-9
    assert legend(axes) == ["40 genuine pairs", "20 impostor pairs"]


def test_thresholds_do_what_counting_says(judge: Judge) -> None:
    judged = judge([0.2, 0.6, 1.0, 1.6], [0.8, 1.4, 1.4, 2.2, 3.0])
    thresholds = np.array([3.6, 2.0, 1.4, 1.0, 0.9, 0.1])  # two of them are a distance, whose pair is refused
    for threshold, far, refused, accuracy in zip(thresholds, *threshold_rates(judged, thresholds), strict=True):
        accepted = [distance < threshold for distance in judged.distances]
        assert far == pytest.approx(np.mean(accepted[4:]))
        assert refused == pytest.approx(1 - np.mean(accepted[:4]))
        assert accuracy == pytest.approx((sum(accepted[:4]) + 5 - sum(accepted[4:])) / 9)


def test_the_curves_over_the_threshold(noisy_result: NoisyResult) -> None:
    result = noisy_result(1)
    assert result.judged is not None
    axes = drawn(thresholds_picture(result, result.judged, "made"))
    far, refused, accuracy, mark = axes.lines
    rates = threshold_rates(result.judged, 2 - 2 * far.get_xdata())
    for line, rate in zip((far, refused, accuracy), rates, strict=True):
        assert np.array_equal(line.get_ydata(), 100 * rate)
    assert set(mark.get_xdata()) == {result.thresholds["accuracy"]["cosine"]}


@pytest.mark.parametrize("middle", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("apart", [0.001, 0.03])
def test_no_stroke_crosses_a_label(judge: Judge, middle: float, apart: float) -> None:
    judged = judge([0.0, 4.0] * 10, [0.0, 4.0] * 10)
    cosines = -1 + 2 * (middle + apart * np.arange(-1.5, 2))

    uses = ("1e-2", "accuracy", "1e-1", "1e-3")
    thresholds = {use: {"cosine": float(cosine)} for use, cosine in zip(uses, cosines, strict=True)}
    result = SimpleNamespace(thresholds=thresholds, genuine=20, impostor=20)
    axes = drawn(histogram_picture(cast(Any, result), judged, "made"))
    labels = [text for text in axes.texts if text.get_text()]
    strokes = [text for text in axes.texts if not text.get_text()]
    assert sorted(text.get_text() for text in labels) == sorted(
        f"{'' if use == 'accuracy' else 'FAR '}{use}: {values['cosine']:.3f}" for use, values in thresholds.items()
    )
    boxes = [text.get_window_extent() for text in labels]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert box.x0 >= 0
        assert box.x1 <= axes.figure.bbox.x1
    for stroke in strokes:
        assert isinstance(stroke, Annotation)
        line = stroke.arrow_patch.get_window_extent()
        assert not any(box.x0 < line.x0 < box.x1 and line.y1 > box.y0 + 1 for box in boxes)


def test_dots_are_the_folds(noisy_result: NoisyResult) -> None:
    results = [noisy_result(1), noisy_result(2, noise=0.5)]
    axes = drawn(folds_picture(results))
    for row, (result, dots, mean) in enumerate(zip(results, axes.lines[::2], axes.lines[1::2], strict=True)):
        assert dots.get_xdata() == pytest.approx(100 * np.array(result.folds.accuracies))
        assert len({*dots.get_ydata()}) == 10
        assert set(mean.get_xdata()) == {100 * result.accuracy}
        box = axes.patches[row]
        middle_half = np.quantile(100 * np.array(result.folds.accuracies), [0.25, 0.75])
        assert [box.get_x(), box.get_x() + box.get_width()] == pytest.approx(middle_half)
    assert len(axes.patches) == 2


def test_pictures_of_models_without_a_curve(judge: Judge) -> None:
    """All distances equal, and only one pair of each kind in a fold."""
    for judged in (judge([1.0] * 20, [1.0] * 20), judge([0.1, 2.0], [1.0, 3.0])):
        result = result_of(judged)
        report = EvaluationReport("m", "f", {}, (result,))
        for picture in [*shared_pictures(report), *benchmark_pictures(result, "b")]:
            Tree.fromstring(picture.render("svg"))


def test_an_inline_picture_has_the_page_s_colours_and_ids_of_its_own(report: EvaluationReport) -> None:
    pictures = [*shared_pictures(report), *benchmark_pictures(report.results[0], "b1")]
    inline = [inline_svg(picture, picture.name) for picture in pictures]
    ids = re.findall(r'\bid="([^"]+)"', "".join(inline))
    assert len(ids) == len({*ids})
    assert {*re.findall(r"#([\w.-]+)", "".join(inline))} == {*ids}
    for picture, drawing in zip(pictures, inline, strict=True):
        assert not re.search('#[0-9a-fA-F]{3,6}[;"]', drawing)
        assert "http" not in drawing
        assert "font-family" not in drawing
        assert len(drawing) < 40_000
        root = Tree.fromstring(drawing)
        assert root.get("viewBox") == f"0 0 400 {picture.height:g}"
        assert {"style", "script", "metadata"}.isdisjoint(element.tag for element in root.iter())
    variables = {*re.findall(r"var\((--[\w-]+)\)", "".join(inline))}
    assert variables <= {*VARIABLES.values()}
    assert {"--series-1", "--series-2", "--ink", "--line"} <= variables


def test_coordinates_stay_where_they_were(report: EvaluationReport) -> None:
    picture = roc_picture(report.results)
    namespace = "{http://www.w3.org/2000/svg}"
    whole = [path.get("d", "") for path in Tree.fromstring(picture.render("svg")).iter(f"{namespace}path")]
    small = [path.get("d", "") for path in Tree.fromstring(inline_svg(picture, "a")).iter("path")]
    assert len(whole) == len(small) > 5
    for before, after in zip(whole, small, strict=True):
        numbers = [[float(number) for number in re.findall(r"-?[\d.]+", path)] for path in (before, after)]
        assert numbers[1] == pytest.approx(numbers[0], abs=0.0051)


def test_any_name_is_drawn_as_it_is(noisy_result: NoisyResult, evil: str) -> None:
    names = ["_hidden", "$x^2$", evil, "bell\x07", "a\ud800b", "\u4eba\u8138", "{}%s", ""]
    results = [replace(noisy_result(1), name=name) for name in names]
    for picture in (roc_picture(results), folds_picture(results)):
        texts = ["".join(element.itertext()) for element in Tree.fromstring(inline_svg(picture, "a")).iter("text")]
        for name in names:
            assert sum(text.startswith(f"{short_name(name)}: ") for text in texts) == 1
    assert folds_picture(results).render("png").startswith(b"\x89PNG")


def test_long_names_lose_their_middle() -> None:
    assert short_name("a" * 26) == "a" * 26
    assert short_name("a" * 20 + "b" * 20) == "a" * 13 + "…" + "b" * 12
    assert short_name("\u4eba" * 40) == "\u4eba" * 6 + "…" + "\u4eba" * 6
    assert short_name("") == ""


def test_sixteen_curves_look_different() -> None:
    assert len({tuple(style_of(index).values()) for index in range(16)}) == 16


def test_colours_stand_out_from_the_page() -> None:
    """Contrast 3:1 at least, as the accessibility guidelines ask of graphics, in light and in dark."""

    def luminance(color: str) -> float:
        parts = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = (
        dict(re.findall(r"(--series-\d):(#[0-9a-f]{6})", part)) for part in REPORT_STYLE.split("@media screen")
    )
    assert light == {VARIABLES[color]: color for color in picture_module.SERIES}
    assert light.keys() == dark.keys()
    assert all(1.05 / (luminance(color) + 0.05) >= 3 for color in light.values())
    assert all((luminance(color) + 0.05) / (luminance("#1d2126") + 0.05) >= 3 for color in dark.values())
    assert len(VARIABLES) == 8


def test_settings_of_the_user_change_nothing(noisy_result: NoisyResult) -> None:
    picture = roc_picture([noisy_result(1)])
    before = picture.render("svg")
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 9, "font.size": 30, "svg.hashsalt": None}):
        assert picture.render("svg") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_files_for_a_paper(report: EvaluationReport, tmp_path: Path) -> None:
    written = write_pictures(replace(report, results=report.results[:1]), tmp_path / "new")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert read_image(tmp_path / "new" / "roc.png").shape[1] == pytest.approx(400 / 72 * 300, abs=1)
    for path in written:
        if path.suffix == ".svg":
            content = path.read_bytes()
            assert Tree.fromstring(content).tag.endswith("svg")
            assert b"dc:date" not in content


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Picture, "render", lambda picture, kind: kind.encode())


@pytest.mark.usefixtures("unrendered")
def test_names_of_files(report: EvaluationReport, tmp_path: Path) -> None:
    results = (replace(report.results[0], name="../a b"), replace(report.results[1], name="../A b"))
    written = write_pictures(replace(report, results=results), tmp_path)
    stems = ["roc", "det", "folds", "a-b-scores", "a-b-thresholds", "A-b-2-scores", "A-b-2-thresholds"]
    assert [path.name for path in written] == [f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")]
    assert {*tmp_path.iterdir()} == {*written}


@pytest.mark.usefixtures("unrendered")
def test_without_a_benchmark_there_is_no_picture(report: EvaluationReport, tmp_path: Path) -> None:
    assert write_pictures(replace(report, results=()), tmp_path) == []
    only = replace(report.results[0], judged=None)
    written = write_pictures(replace(report, results=(only,)), tmp_path)
    assert [path.stem for path in written][::2] == ["roc", "det", "folds"]


def test_stems_of_files() -> None:
    assert file_stems(["a", "a", "A", "..", "", "x" * 80]) == ["a", "a-2", "A-3", "benchmark", "benchmark-2", "x" * 60]
