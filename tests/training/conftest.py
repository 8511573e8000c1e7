from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facedistill.data.folder import FolderDataset
from facedistill.training.distill import DistillOptions
from facedistill.training.train_teacher import TeacherOptions

SMALL: dict[str, Any] = {"input_size": 64, "batch_size": 16, "epochs": 2, "warmup_epochs": 0, "device": "cpu"}


@pytest.fixture
def dataset(faces: Path) -> FolderDataset:
    return FolderDataset(faces)


def teacher_options(**changes: Any) -> TeacherOptions:
    values = {**SMALL, "model": "tinyfacenet", "width": 0.5, "embedding_size": 16, "scale": 16.0, "margin": 0.1}
    return TeacherOptions(**{**values, **changes})


def distill_options(**changes: Any) -> DistillOptions:
    return DistillOptions(**{**SMALL, "student": "tinyfacenet", "width": 0.5, **changes})
