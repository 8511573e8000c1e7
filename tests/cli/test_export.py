from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from facedistill.checkpoint import save_checkpoint
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.export.options import ExportOptions

from ..export.made_checkpoints import made_checkpoint
from .conftest import Call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, made_checkpoint())
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of 12 people, and a pair list of them."""
    folder = tmp_path_factory.mktemp("photos")
    faces = SyntheticFaces(12, 4, size=64)
    write_folder(faces, folder / "crops")
    keys = sorted(path.relative_to(folder / "crops").as_posix() for path in (folder / "crops").rglob("*.*"))
    with (folder / "pairs.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path_a", "path_b", "same"])
        for start in range(0, 48, 4):
            writer.writerow([keys[start], keys[start + 1], 1])
            writer.writerow([keys[start], keys[(start + 4) % 48], 0])
    (folder / "people.txt").write_text("\n".join(sorted({key.split("/")[0] for key in keys})[:10]) + "\n")
    return folder


def test_int8_of_a_run_judged_on_pairs(call: Call, model: Path, photos: Path, tmp_path: Path) -> None:
    judge = ("--pairs", photos / "pairs.csv", "--images", photos / "crops", "--max-drop", "100")
    outcome = call(
        *("export", model, "-o", tmp_path / "a.onnx", "--precision", "int8", "--input", "uint8-rgb"),
        *("--calibration", photos / "crops", "--identities", photos / "people.txt"),
        *(*judge, "--data-license", "CC BY 4.0", "--json", tmp_path / "a.json"),
    )
    assert outcome.status == 0, outcome.err
    assert "30 crops to calibrate on, and 10 to judge by, are all there are" in outcome.err
    assert "accuracy on pairs" in outcome.out
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["precision"] == "int8"
    assert [each["count"] for each in result["parity"]] == [64, 10]
    assert result["accuracy"][0]["benchmark"] == "pairs"
    # Judged again without a word on its preprocessing, it does as well as it did here.
    outcome = call("eval", tmp_path / "a.onnx", *judge[:4], "--resamples", 0, "--json", tmp_path / "eval.json")
    assert outcome.status == 0
    assert "assuming" not in outcome.err
    again = json.loads((tmp_path / "eval.json").read_text())
    assert again["benchmarks"][0]["accuracy"] == pytest.approx(result["accuracy"][0]["after"])


def test_an_onnx_file_to_another_form(call: Call, model: Path, tmp_path: Path) -> None:
    assert call("export", model, "-o", tmp_path / "a.onnx", "--quiet").status == 0
    outcome = call("export", tmp_path / "a.onnx", "-o", tmp_path / "b.onnx", "--precision", "fp16", "--normalise")
    assert outcome.status == 0, outcome.err
    assert "of length 1" in outcome.out
    outcome = call("export", tmp_path / "b.onnx", "-o", tmp_path / "c.onnx")
    assert outcome.status == 2
    assert "not in float32" in outcome.err


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--precision", "int8"], 2, "int8 needs crops"),
        (["--precision", "int3"], 2, "no precision called 'int3'"),
        (["--identities", "people.txt"], 2, "--identities is given without --calibration"),
        (["--calibration", "nowhere"], 2, "nowhere"),
        (["--images", "nowhere"], 2, "--images is given without --pairs"),
        (["--opset", "12"], 2, "opset 12 is too old"),
    ],
)
def test_wrong_calls(options: list[str], status: int, said: str, call: Call, model: Path, tmp_path: Path) -> None:
    outcome = call("export", model, "-o", tmp_path / "a.onnx", *options)
    assert (outcome.status, list(tmp_path.iterdir())) == (status, [])
    assert said in outcome.err


def test_the_defaults_of_the_command_are_those_of_the_library(call: Call, model: Path, tmp_path: Path) -> None:
    outcome = call("export", model, "-o", tmp_path / "a.onnx", "--json", tmp_path / "a.json")
    assert outcome.status == 0
    result, usual = json.loads((tmp_path / "a.json").read_text()), ExportOptions()
    assert (result["precision"], result["input"]) == (usual.precision, usual.input)
    assert (result["normalised"], result["opset"]) == (usual.normalise, usual.opset)
    outcome = call("export", model, "-o", tmp_path / "a.onnx")
    assert outcome.status == 2
    assert "the file exists" in outcome.err
