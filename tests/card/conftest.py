from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from facedistill.bench.latency import Latency
from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.export.onnx_metadata import add_metadata
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.saved_results import Benched, Cut, Exported, Judged, PairFigures, SavedDrop, SavedParity

from ..made_onnx import write_onnx as write_small_onnx

CONFIG: dict[str, Any] = {
    "data": ["/home/somebody/crops"],
    "init": "/home/somebody/runs/start",
    "epochs": 4,
    "batch_size": 32,
    "lr": 0.05,
    "schedule": "cosine",
    "optimizer": "sgd",
    "seed": 7,
    "method": "triplet-distillation",
    "plus": ["mse:0.5"],
    "set": ["margin_max=0.6"],
    "cache": "/home/somebody/cache",
    "run": {
        "facedistill": "0.2.0",
        "command": "distill",
        "backbone": {"name": "tinyfacenet", "embedding_size": 16, "width": 1.0},
        "data": {"images": 9525, "identities": 4038, "fingerprint": "f3e0af80"},
        "teacher": {"name": "/home/somebody/r50.onnx", "fingerprint": "92c67ec8", "embedding_size": 512},
    },
}
"""What `config.yaml` of a run holds."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder written by hand."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "metrics.jsonl").write_text('{"step": 4, "epoch": 4, "loss": 0.1, "accuracy": 0.975}\n')
    backbone = build_backbone("tinyfacenet", embedding_size=16, input_size=64).eval()
    provenance = {name: value for name, value in CONFIG.items() if name not in ("data", "init")} | {"epoch": 3}
    spec = BackboneSpec("tinyfacenet", 16)
    save_checkpoint(
        folder / "last" / "backbone.safetensors", Checkpoint(backbone, spec, Preprocessing(size=64), provenance)
    )
    return folder


def write_onnx(path: Path, **facts: str) -> Path:
    write_small_onnx(path)
    if facts:
        add_metadata(path, {f"facedistill.{name}": value for name, value in facts.items()})
    return path


def make_judged(sha256: str, *, name: str = "lfw", accuracy: float = 0.99, warnings: tuple[str, ...] = ()) -> Judged:
    figures = PairFigures(
        name=name,
        pairs=6000,
        accuracy=accuracy,
        accuracy_std=0.003,
        eer=0.01,
        tar_at_far={"1e-3": 0.98, "1e-4": None},
        thresholds={"accuracy": Cut(squared_l2=1.2, cosine=0.4), "1e-3": Cut(squared_l2=1.0, cosine=0.5)},
        intervals={"accuracy": (0.985, 0.995), "1e-3": (0.97, 0.99)},
        warnings=warnings,
    )
    return Judged(sha256=sha256, name="student.onnx", benchmarks=(figures,))


def make_benched(sha256: str) -> Benched:
    latencies = [Latency(0.010, 0.009, 0.012, 0.02, 100, batch, threads) for threads in (1, 2) for batch in (1, 8)]
    return Benched(
        sha256=sha256,
        name="student.onnx",
        latencies=tuple(each for each in latencies if each.batch == 1),
        throughputs=tuple(latencies),
        peak_bytes=39_000_000,
        machine={"processor": "Fast One", "processors": 2, "onnxruntime": "1.2.3"},
    )


def make_exported(sha256: str, source: str | None, precision: str) -> Exported:
    parity = SavedParity(images="crops of lfw", count=64, lowest_cosine=0.97, mean_cosine=0.99, largest_difference=0.03)
    drop = SavedDrop(benchmark="lfw", before=0.9945, after=0.994)
    return Exported(
        sha256=sha256,
        name=f"{precision}.onnx",
        precision=precision,
        source_sha256=source,
        parity=(parity,),
        accuracy=(drop,),
    )


# Helpers are handed out as fixtures: the tests are no package, so that one file cannot import another.
@pytest.fixture
def make_onnx() -> Callable[..., Path]:
    """Writes a small ONNX file; keywords are facts for its metadata, without the prefix."""
    return write_onnx


@pytest.fixture
def judged() -> Callable[..., Judged]:
    """Results on one pair list."""
    return make_judged


@pytest.fixture
def benched() -> Callable[..., Benched]:
    return make_benched


@pytest.fixture
def exported() -> Callable[..., Exported]:
    return make_exported
