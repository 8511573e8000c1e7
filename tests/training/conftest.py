from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.training import saving
from facedistill.training.distill_options import DistillOptions
from facedistill.training.train_teacher import TeacherOptions

SMALL: dict[str, Any] = {"input_size": 64, "batch_size": 16, "epochs": 2, "warmup_epochs": 0, "device": "cpu"}


@pytest.fixture
def dataset(faces: Path) -> FolderDataset:
    return FolderDataset(faces)


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pictures, which take longer than a short run."""
    monkeypatch.setattr(saving, "plot_curves", lambda records, path: None)


@pytest.fixture(scope="session")
def corrupt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of 8 made-up people, 6 of each, 32 x 32, of which one cannot be decoded."""
    folder = tmp_path_factory.mktemp("corrupt") / "faces"
    write_folder(SyntheticFaces(8, 6, size=32), folder)
    broken_image(folder).write_bytes(b"no image")
    return folder


def broken_image(folder: Path) -> Path:
    return sorted(path for path in folder.rglob("*") if path.is_file())[7]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "last" / "backbone.safetensors")


def same_weights(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_final_look(notes: list[str]) -> list[str]:
    """Runs of a few steps have batch-norm statistics that are no good yet, and are told so."""
    return [note for note in notes if not note.startswith("a look at the finished network found")]


def teacher_options(**changes: Any) -> TeacherOptions:
    values = {**SMALL, "model": "tinyfacenet", "width": 0.5, "embedding_size": 16, "scale": 16.0, "margin": 0.1}
    return TeacherOptions(**{**values, **changes})


def distill_options(**changes: Any) -> DistillOptions:
    return DistillOptions(**{**SMALL, "student": "tinyfacenet", "width": 0.5, **changes})
