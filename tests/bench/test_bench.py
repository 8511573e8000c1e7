from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facedistill.bench import bench as module
from facedistill.bench.bench import bench
from facedistill.bench.latency import Latency
from facedistill.bench.memory import measure_here, peak_memory
from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.embedders.embedder import Embedder
from facedistill.errors import ModelFileError, UsageError
from facedistill.files import file_sha256
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.saved_results import Judged, PairFigures, SavedResults


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_onnx: Callable[..., Path]) -> list[Path]:
    """A checkpoint and an ONNX file."""
    folder = tmp_path_factory.mktemp("models")
    backbone = build_backbone("tinyfacenet", embedding_size=16, input_size=64).eval()
    checkpoint = Checkpoint(backbone, BackboneSpec("tinyfacenet", 16), Preprocessing(size=64))
    save_checkpoint(folder / "a.safetensors", checkpoint)
    return [folder / "a.safetensors", make_onnx(folder / "a.onnx")]


def test_two_models_side_by_side(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(embedders: list[Embedder], *, batch: int, threads: int, **_: object) -> list[Latency]:
        # The second model takes half as long, two threads half as long, and a batch as long as its crops.
        medians = [0.008 * batch / threads / (1 + place) for place in range(len(embedders))]
        return [Latency(m, m, 1.1 * m, 1.5 * m, 100, batch, threads) for m in medians]

    monkeypatch.setattr(module, "measure_latencies", measured)
    told: list[str] = []
    result = bench(models, batches=(1, 4), threads=2, memory=False, stage=told.append)
    assert told == ["one face, 1 thread", "batches of 4, 1 thread", "one face, 2 threads", "batches of 4, 2 threads"]
    for model in result.models:
        assert [(each.threads, each.batch) for each in model.latencies] == [(1, 1), (2, 1)]
        assert [(each.threads, each.batch) for each in model.throughputs] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert result.models[1].costs.multiply_adds == 768
    tables = dict(result.tables(["torch", "onnx"]))
    assert list(tables) == ["", "one face, ms", "faces a second"]
    assert tables["one face, ms"] == (
        ["model", "threads", "median", "90 %", "99 %"],
        [
            ["torch", "1", "8.00", "8.80", "12.00"],
            ["torch", "2", "4.00", "4.40", "6.00"],
            ["onnx", "1", "4.00", "4.40", "6.00"],
            ["onnx", "2", "2.00", "2.20", "3.00"],
        ],
    )
    assert tables["faces a second"] == (
        ["model", "threads", "batch 1", "batch 4"],
        [
            ["torch", "1", "125", "125"],
            ["torch", "2", "250", "250"],
            ["onnx", "1", "250", "250"],
            ["onnx", "2", "500", "500"],
        ],
    )
    values = result.to_dict()
    assert values["machine"]["threads"] == 2
    assert values["models"][1]["sha256"] == file_sha256(models[1])
    assert values["models"][1]["throughputs"][1]["batch"] == 4
    assert values["models"][0]["peak_bytes"] is None


def test_one_thread_is_measured_once(models: list[Path]) -> None:
    result = bench(models[1:], batches=(), threads=1, seconds=0.01, memory=False)
    (latency,) = result.models[0].latencies
    assert (latency.threads, latency.batch) == (1, 1)
    assert 0 < latency.low <= latency.median <= latency.high <= latency.slowest
    assert len(result.tables(["a"])) == 2


def test_accuracies_stand_beside_the_costs(models: list[Path], tmp_path: Path) -> None:
    figures = PairFigures(name="lfw", pairs=10, accuracy=0.9, accuracy_std=0.01, eer=0.1, tar_at_far={})
    judged = Judged(sha256=file_sha256(models[1]), name="a.onnx", benchmarks=(figures,))
    results = [SavedResults(Path("eval.json"), judged=(judged,))]
    result = bench(models, batches=(), threads=1, seconds=0.01, memory=False, results=results)
    columns, rows = result.tables(["torch", "onnx"])[0][1]
    assert columns[-1] == "lfw, %"
    assert [row[-1] for row in rows] == ["-", "90.00"]
    assert result.to_dict()["models"][1]["accuracies"] == {"lfw": {"accuracy": 0.9, "accuracy_std": 0.01}}
    result.plot(tmp_path / "plot.svg", ["torch", "onnx"])
    assert "onnx" in (tmp_path / "plot.svg").read_text()


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
