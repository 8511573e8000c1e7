from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest

from facedistill.bench.accuracies import accuracies_of
from facedistill.bench.accuracy_plot import PlottedModel, accuracy_picture, plot_accuracy
from facedistill.bench.latency import Latency
from facedistill.errors import UsageError
from facedistill.files import file_sha256
from facedistill.saved_results import Judged, PairFigures, SavedResults


def figures(name: str, accuracy: float) -> PairFigures:
    ends = {"accuracy": (accuracy - 0.01, accuracy + 0.01)}
    return PairFigures(name=name, pairs=10, accuracy=accuracy, accuracy_std=0.0, eer=0.1, tar_at_far={}, intervals=ends)


def judged(path: Path, **accuracies: float) -> Judged:
    benchmarks = tuple(figures(name, accuracy) for name, accuracy in accuracies.items())
    return Judged(sha256=file_sha256(path), name=path.name, benchmarks=benchmarks)


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for path in paths:
        path.write_text(path.name)
    return paths


def test_results_find_their_models(models: list[Path]) -> None:
    first, second, third = models
    one = SavedResults(Path("1.json"), judged=(judged(second, lfw=0.9, cfp=0.8),))
    # Of a comparison that had another model, too.
    two = SavedResults(Path("2.json"), judged=(judged(third, lfw=0.5), judged(first, lfw=0.7)))
    found = accuracies_of([first, second], [one, two])
    assert [{name: each.accuracy for name, each in own.items()} for own in found] == [
        {"lfw": 0.7},
        {"lfw": 0.9, "cfp": 0.8},
    ]
    assert accuracies_of([first, second], []) == [{}, {}]


def test_a_result_of_none_of_the_models_is_refused(models: list[Path]) -> None:
    stranger = SavedResults(Path("other.json"), judged=(judged(models[2], lfw=0.5),))
    with pytest.raises(UsageError, match=r"other.json: the result is of c.safetensors, and of none of the models here"):
        accuracies_of(models[:2], [stranger])
    empty = SavedResults(Path("threshold.json"), judged=(judged(models[0]),))
    with pytest.raises(UsageError, match="the result has no accuracy"):
        accuracies_of(models, [empty])


def points() -> list[PlottedModel]:
    latency = Latency(0.010, 0.009, 0.012, 0.02, 100)
    slow = Latency(0.200, 0.190, 0.220, 0.3, 100)
    return [
        PlottedModel("small.onnx", latency, {"lfw": figures("lfw", 0.9), "cfp": figures("cfp", 0.8)}),
        PlottedModel("unjudged.onnx", latency, {}),
        PlottedModel("<large> & $slow$", slow, {"lfw": figures("lfw", 0.95)}),
    ]


def test_the_picture_shows_each_list_and_each_model_that_has_an_accuracy() -> None:
    svg = accuracy_picture(points()).render("svg")
    texts = {
        "".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter() if "text" in element.tag
    }
    assert {"lfw", "cfp", "small.onnx", "<large> & $slow$", "accuracy, %", "ms a face, 1 thread of the CPU"} <= texts
    assert "unjudged.onnx" not in texts
    # From 9 to 220 ms is far, so that the axis is logarithmic, in plain numbers.
    assert {"10", "20", "50", "100"} <= texts


def test_where_the_points_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    seen: list[tuple[list[float], list[float], list[list[float]], list[list[float]]]] = []
    monkeypatch.setattr(
        Axes, "errorbar", lambda self, x, y, *, xerr, yerr, **_: seen.append((x, y, xerr, yerr)) or None
    )
    accuracy_picture(points()[:1]).render("svg")
    (x, y, across, upwards), (_, second, _, _) = seen
    assert (x, y, second) == ([10.0], [90.0], [80.0])
    assert [each[0] for each in across] == pytest.approx([1.0, 2.0])
    assert [each[0] for each in upwards] == pytest.approx([1.0, 1.0])


def test_files_and_wrong_calls(tmp_path: Path) -> None:
    plot_accuracy(points(), tmp_path / "plot.png")
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
    with pytest.raises(UsageError, match=r"cannot be written as '\.doc'"):
        plot_accuracy(points(), tmp_path / "plot.doc")
    with pytest.raises(UsageError, match="nothing to plot"):
        plot_accuracy(points()[1:2], tmp_path / "plot.svg")
