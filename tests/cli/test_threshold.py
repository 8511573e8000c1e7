from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.evaluation.descriptors import describe

from .conftest import Call

DESCRIBED = ["--color", "rgb", "--mean", 127.5, "--std", 128]


@pytest.fixture
def model(color_model: Callable[[int], Path]) -> Path:
    return color_model(8)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Twelve people with four photos each, of colours that lie near one another."""
    import cv2

    random = np.random.default_rng(0)
    for person in range(12):
        folder = tmp_path / "crops" / f"p{person}"
        folder.mkdir(parents=True)
        color = random.integers(40, 215, 3)
        for number in range(1, 5):
            shade = (color + random.integers(-30, 30, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / f"p{person}_{number:04d}.png"), np.broadcast_to(shade, (8, 8, 3)))
    return tmp_path / "crops"


def test_the_threshold_lets_in_what_it_says(call: Call, model: Path, crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    words = ["--all-pairs", crops, "--far", "1e-2", "--far", "0.1", *DESCRIBED, "--resamples", 50, "--json", out]
    done = call("threshold", model, *words)
    assert done.status == 0, done.err
    strict, loose = json.loads(out.read_text())["thresholds"]
    assert (strict["far"], loose["far"]) == (0.01, 0.1)
    dataset = FolderDataset(crops)
    faces = describe(OnnxEmbedder(model, color="rgb", mean=127.5, std=128), dataset).unit
    first, second = np.triu_indices(len(dataset), 1)
    same = dataset.labels[first] == dataset.labels[second]
    cosines = np.einsum("pd,pd->p", faces[first], faces[second])
    for found in (strict, loose):
        accepted = cosines > found["cosine"] + 1e-6
        assert np.mean(accepted[~same]) == pytest.approx(found["measured_far"], abs=2e-3)
        assert found["measured_far"] <= found["far"]
        assert np.mean(accepted[same]) == pytest.approx(found["tar"], abs=0.02)
        assert found["l2"] ** 2 == pytest.approx(found["squared_l2"]) == pytest.approx(2 - 2 * found["cosine"])
        interval = found["interval"]
        assert interval["over"] == "people"
        for measure in ("cosine", "l2", "squared_l2"):
            assert interval[measure][0] <= found[measure] <= interval[measure][1]
    assert strict["cosine"] > loose["cosine"]
    assert "cosine above" in done.out


def test_pairs_of_a_list_and_what_is_saved(call: Call, model: Path, crops: Path, tmp_path: Path) -> None:
    assert call("make-pairs", crops, "--out", tmp_path / "pairs.csv", "--pairs", 16, "--folds", 2).status == 0
    before = OnnxEmbedder(model, color="rgb", mean=127.5, std=128).fingerprint
    words = ["--pairs", tmp_path / "pairs.csv", "--images", crops, "--far", "0.25", *DESCRIBED, "--resamples", 50]
    done = call("threshold", model, *words, "--save", "--json", tmp_path / "t.json")
    assert done.status == 0, done.err
    assert "SHA-256 has changed" in done.err
    (found,) = json.loads((tmp_path / "t.json").read_text())["thresholds"]
    assert found["interval"]["over"] == "people"
    metadata = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["facedistill.thresholds"]) == [found]
    assert OnnxEmbedder(model, color="rgb", mean=127.5, std=128).fingerprint != before
    # The model is the same model.
    again = call("threshold", model, *words, "--json", tmp_path / "again.json")
    assert again.status == 0
    assert json.loads((tmp_path / "again.json").read_text())["thresholds"] == [found]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--far", "0"], 2, "a FAR is between 0 and 1"),
        (["--far", "1e-3"], 2, "there is nothing to evaluate on"),
        (
            ["--far", "1e-6", "--all-pairs", "crops"],
            1,
            "a FAR of 1e-6 needs 1,000,000 impostor pairs",
        ),
        (["--resamples", "1", "--all-pairs", "crops"], 2, "one resample makes no interval"),
    ],
)
def test_what_gives_no_threshold(
    words: list[str], status: int, message: str, call: Call, model: Path, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(crops.parent)
    done = call("threshold", model, *words, *DESCRIBED)
    assert done.status == status
    assert message in " ".join(done.err.split())


def test_a_cache_keeps_no_threshold(call: Call, model: Path, crops: Path, tmp_path: Path) -> None:
    assert call("embed", crops, "--model", model, *DESCRIBED, "-o", tmp_path / "cache").status == 0
    words = ["--all-pairs", crops, "--far", "0.1", "--resamples", 0]
    assert call("threshold", tmp_path / "cache", *words).status == 0
    done = call("threshold", tmp_path / "cache", *words, "--save")
    assert done.status == 2
    assert "thresholds are saved in ONNX files" in done.err


def test_people_are_looked_up(call: Call, model: Path, crops: Path, tmp_path: Path) -> None:
    """With the gallery itself as probes everybody is found; strangers' probes give the FPIR."""
    done = call("identify", model, "--gallery", crops, "--probes", crops, *DESCRIBED, "--json", tmp_path / "i.json")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "i.json").read_text())
    assert found["identification"]["rank"]["1"] == 1.0
    assert found["model_sha256"]
    assert "entries of the gallery to the byte" in done.err, "probes that are in the gallery are told of"
    done = call("identify", model, "--gallery", crops, "--probes", tmp_path / "nowhere", *DESCRIBED)
    assert done.status == 2
