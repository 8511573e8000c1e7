from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.bench import latency
from facedistill.data.images import read_image
from facedistill.data.verification_bin import write_bin
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY
from facedistill.preprocessing import Preprocessing

from .conftest import Call, Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def run(call: Call, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`facedistill compare` with these arguments; what it says is one line."""
    monkeypatch.setattr(latency, "MOST_CALLS", 9)

    def compare(*arguments: object) -> Outcome:
        outcome = call("compare", *arguments)
        return outcome._replace(err=" ".join(outcome.err.split()))

    return compare


def make_model(path: Path, weights: list[list[float]], *, color: str | None = None) -> Path:
    """An ONNX file that embeds a crop of 8 x 8 pixels as a product of its mean colour; with metadata for a `color`."""
    matrix = np.array(weights, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["in"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["out"]),
        ],
        "colours",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if color is not None:
        stated = Preprocessing(size=8, color=color).to_dict()  # type: ignore[arg-type]
        onnx.helper.set_model_props(model, {PREPROCESSING_KEY: json.dumps(stated)})
    onnx.save(model, path)
    return path


COLORS = np.eye(3).tolist()
# Of each colour, this one sees red and a little of the others, so that most people look alike to it.
NEARLY_BLIND = [[1.0, 0.0], [0.02, 0.3], [0.03, 0.0]]


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [make_model(tmp_path / "colours.onnx", COLORS), make_model(tmp_path / "blind.onnx", NEARLY_BLIND)]


def crop(color: tuple[int, int, int]) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), color, dtype=np.uint8))[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six people with five photos each, all of them shades of one colour."""
    rng = np.random.default_rng(0)
    for person in range(6):
        (tmp_path / "crops" / f"p{person}").mkdir(parents=True)
        color = rng.integers(10, 240, size=3)
        for number in range(5):
            shade = tuple(int(value) for value in color + rng.integers(-9, 10, size=3))
            (tmp_path / "crops" / f"p{person}" / f"{number}.png").write_bytes(crop(shade))  # type: ignore[arg-type]
    return tmp_path / "crops"


@pytest.fixture
def pairs(folder: Path) -> Path:
    rows = [f"p{p}/{n}.png,p{p}/{(n + 1) % 5}.png,1" for p in range(6) for n in range(5)]
    rows += [f"p{p}/{n}.png,p{(p + 1 + n) % 6}/{(n + 1) % 5}.png,0" for p in range(6) for n in range(5)]
    path = folder.parent / "pairs.csv"
    path.write_text("\n".join(["path_a,path_b,same", *rows]))
    return path


@pytest.fixture
def compared(run: Run, models: list[Path], pairs: Path, folder: Path) -> Run:
    return lambda *arguments: run(*models, "--pairs", pairs, "--images", folder, "--device", "cpu", *arguments)


def test_everything_at_once(compared: Run, models: list[Path], folder: Path, tmp_path: Path) -> None:
    write_bin(
        tmp_path / "set.bin",
        [crop(color) for _ in range(10) for color in ((9, 9, 200), (9, 9, 220), (9, 9, 200), (200, 9, 9))],
        [True, False] * 10,
    )
    out, text, picture = tmp_path / "new" / "c.json", tmp_path / "c.md", tmp_path / "sheet.png"
    outcome = compared(
        "--bin", tmp_path / "set.bin", "--all-pairs", folder, "--json", out, "--markdown", text, "--sheet", picture,
        "--batch-size", 7,
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    values = json.loads(out.read_text())
    first, second = values["models"]
    assert [first["path"], second["path"]] == [str(path) for path in models]
    assert [first["name"], second["name"]] == ["colours.onnx", "blind.onnx"]
    assert (first["parameters"], first["multiply_adds"], first["embedding_size"]) == (9, 9, 3)
    assert (second["parameters"], second["multiply_adds"], second["embedding_size"]) == (6, 6, 2)
    assert second["file_bytes"] == models[1].stat().st_size
    assert second["latency"]["calls"] == 10  # whole turns of five
    on_list, on_bin = values["benchmarks"]
    assert (on_list["name"], on_list["over"], on_bin["name"], on_bin["over"]) == ("pairs", "people", "set", "pairs")
    (difference,) = on_list["differences"]
    accuracies = [model["result"]["accuracy"] for model in on_list["models"]]
    assert difference["figures"]["accuracy"]["estimate"] == pytest.approx(accuracies[1] - accuracies[0])
    assert accuracies[1] < accuracies[0] - 0.1
    test = difference["mcnemar"]
    assert difference["p_holm"] == test["p"] < 0.05
    assert test["only_first"] - test["only_second"] == round(60 * (accuracies[1] - accuracies[0]))
    (data,) = values["all_pairs"]
    assert (data["name"], data["people"], data["images"]) == ("crops", 6, 30)
    assert data["differences"][0]["at_far"]["1e-2"]["estimate"] < 0
    assert "crops: 30 images of 6 people" in outcome.out
    assert "pairs: differences" in outcome.out
    assert "| blind.onnx | pairs | 0.000 M |" in text.read_text()
    assert read_image(picture).shape[1] > 1000
    assert "assuming 8x8 RGB" in outcome.err


def test_the_same_model_twice_makes_no_difference(run: Run, pairs: Path, folder: Path, tmp_path: Path) -> None:
    copies = [make_model(tmp_path / name, COLORS, color="rgb") for name in ("a.onnx", "b.onnx", "c.onnx")]
    outcome = run(
        *copies, "--pairs", pairs, "--images", folder, "--no-latency", "--quiet", "--json", tmp_path / "c.json",
        "--sheet", tmp_path / "s.png",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    assert "decide all pairs alike: no sheet is written" in outcome.err
    values = json.loads((tmp_path / "c.json").read_text())
    assert [model["latency"] for model in values["models"]] == [None] * 3
    for difference in values["benchmarks"][0]["differences"]:
        assert difference["p_holm"] == 1.0
        found = difference["figures"]["accuracy"]
        assert (found["estimate"], found["low"], found["high"], found["excludes_zero"]) == (0, 0, 0, False)
    assert [each["alike"] for each in values["benchmarks"][0]["agreements"]] == [1.0] * 3


def test_a_colour_order_is_for_models_that_carry_none(run: Run, pairs: Path, folder: Path, tmp_path: Path) -> None:
    own, foreign = (
        make_model(tmp_path / "own.onnx", COLORS, color="bgr"), make_model(tmp_path / "foreign.onnx", COLORS)
    )  # fmt: skip
    outcome = run(
        own, foreign, "--pairs", pairs, "--images", folder, "--no-latency", "--color", "rgb", "--mean", 100,
        "--std", 128, "--json", tmp_path / "c.json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert outcome.err == ""
    stated = [model["preprocessing"] for model in json.loads((tmp_path / "c.json").read_text())["models"]]
    assert [(each["color"], each["mean"]) for each in stated] == [("bgr", 127.5), ("rgb", 100.0)]
    second = make_model(tmp_path / "second.onnx", COLORS, color="rgb")
    outcome = run(own, second, "--pairs", pairs, "--images", folder, "--color", "rgb")
    assert (outcome.status, "every model carries its own preprocessing" in outcome.err) == (2, True)


def test_wrong_calls(compared: Run, run: Run, models: list[Path], pairs: Path, folder: Path) -> None:
    cases = [
        (run(*models), 2, "there is nothing to evaluate on"),
        (run(models[0], "--pairs", pairs, "--images", folder), 2, "Name two models or more"),
        (run(models[0], models[0], "--pairs", pairs, "--images", folder), 2, "the model is named twice"),
        (run(*models, "--pairs", pairs), 2, "there are 1 --pairs and 0 --images"),
        (run(*models, "--all-pairs", folder, "--sheet", "a.png"), 2, "--sheet shows pairs of --pairs and --bin"),
        (compared("--sheet", "a.jpg"), 2, "Use .png"),
        (compared("--identities", "people.txt"), 2, "without --all-pairs"),
        (run(models[0], folder / "none.onnx", "--pairs", pairs, "--images", folder), 1, "there is no such model"),
        (run(*models, "--pairs", pairs, "--images", folder.parent), 1, "30 of its 30 images are missing"),
    ]
    for outcome, status, message in cases:
        assert (outcome.status, message in outcome.err) == (status, True), outcome.err
