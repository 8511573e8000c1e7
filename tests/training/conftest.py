from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from facedistill.data.folder import FolderDataset
from facedistill.training.distill import DistillOptions
from facedistill.training.train_teacher import TeacherOptions

SMALL: dict[str, Any] = {"input_size": 64, "batch_size": 16, "epochs": 2, "warmup_epochs": 0, "device": "cpu"}


@pytest.fixture
def dataset(faces: Path) -> FolderDataset:
    return FolderDataset(faces)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "last" / "backbone.safetensors")


def same_weights(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def teacher_options(**changes: Any) -> TeacherOptions:
    values = {**SMALL, "model": "tinyfacenet", "width": 0.5, "embedding_size": 16, "scale": 16.0, "margin": 0.1}
    return TeacherOptions(**{**values, **changes})


def distill_options(**changes: Any) -> DistillOptions:
    return DistillOptions(**{**SMALL, "student": "tinyfacenet", "width": 0.5, **changes})
