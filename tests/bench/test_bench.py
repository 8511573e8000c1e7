from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.bench import bench as module
from facedistill.bench.bench import bench
from facedistill.bench.latency import Latency
from facedistill.bench.memory import measure_here, peak_memory
from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.errors import ModelFileError, UsageError
from facedistill.export.onnx_file import export_onnx
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One backbone as a checkpoint and as ONNX."""
    folder = tmp_path_factory.mktemp("models")
    backbone = build_backbone("tinyfacenet", embedding_size=16, input_size=64).eval()
    checkpoint = Checkpoint(backbone, BackboneSpec("tinyfacenet", 16), Preprocessing(size=64))
    save_checkpoint(folder / "a.safetensors", checkpoint)
    export_onnx(checkpoint, folder / "a.onnx")
    return [folder / "a.safetensors", folder / "a.onnx"]


def test_two_models_side_by_side(models: list[Path]) -> None:
    told: list[str] = []
    result = bench(models, batches=(1, 3), threads=2, seconds=0.01, memory=False, stage=told.append)
    assert told == ["one face, 1 thread", "one face, 2 threads", "batches of 1", "batches of 3"]
    assert [[each.threads for each in model.latencies] for model in result.models] == [[1, 2]] * 2
    assert [[each.batch for each in model.throughputs] for model in result.models] == [[1, 3]] * 2
    for model in result.models:
        assert all(0 < each.low <= each.median <= each.high <= each.slowest for each in model.latencies)
    assert result.models[0].costs.multiply_adds == result.models[1].costs.multiply_adds
    titles = [title for title, _ in result.tables(["torch", "onnx"])]
    assert titles == ["", "one face, ms", "faces a second, 2 threads"]
    values = result.to_dict()
    assert values["machine"]["threads"] == 2
    assert values["models"][1]["throughputs"][1]["batch"] == 3
    assert values["models"][0]["peak_bytes"] is None


def test_one_thread_is_measured_once(models: list[Path]) -> None:
    result = bench(models[1:], batches=(), threads=1, seconds=0.01, memory=False)
    assert [each.threads for each in result.models[0].latencies] == [1]
    assert len(result.tables(["a"])) == 2


def test_images_a_second() -> None:
    assert Latency(0.02, 0.01, 0.03, 0.04, 9, batch=8).images_per_second == pytest.approx(400)


def test_memory_is_that_of_a_process_of_its_own(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = peak_memory(models[1], batch=2)
    assert found is None or 0 < found < 1 << 30
    monkeypatch.setattr("facedistill.bench.memory._peak", iter([100, 350]).__next__)
    assert measure_here({"path": str(models[1]), "batch": 1}) == 250
    with pytest.raises(ModelFileError, match="its memory cannot be measured"):
        peak_memory(models[1].with_name("none.onnx"))


def test_wrong_calls(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be opened")

    monkeypatch.setattr(module, "open_for_timing", refuse)
    for paths, settings, message in (
        ([], {}, "there is nothing to measure"),
        ([models[0], models[0]], {}, "a model is named twice"),
        (models, {"threads": 0}, "begin at 1"),
        (models, {"batches": (0,)}, "begin at 1"),
    ):
        with pytest.raises(UsageError, match=message):
            bench(paths, **settings)  # type: ignore[arg-type]


def test_noise_is_what_is_embedded(models: list[Path]) -> None:
    """A constant image may be quicker, and so tell nothing."""
    seen: list[np.ndarray] = []

    class Seeing:
        preprocessing = Preprocessing(size=8)

        def embed(self, images: np.ndarray) -> np.ndarray:
            seen.append(images)
            return np.ones((len(images), 2), dtype=np.float32)

    module.measure_latencies([Seeing()], batch=4, seconds=0.0)  # type: ignore[list-item]
    assert seen[0].shape == (4, 8, 8, 3)
    assert seen[0].std() > 50
