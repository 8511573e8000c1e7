"""What pruning is for: half the multiply-adds, and after a second distillation the accuracy of the parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.demo import FIRST_TEST_PERSON, write_pair_list
from facedistill.embedders.load import load_embedder, load_model_checkpoint
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import evaluate_verification
from facedistill.prune.prune import prune
from facedistill.prune.write import write_pruned
from facedistill.training.distill import distill
from facedistill.training.distill_options import DistillOptions
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions, train_teacher

pytest.importorskip("torch_pruning")

CROP = 64


@pytest.mark.slow
def test_half_the_multiply_adds_cost_less_than_a_point(tmp_path: Path) -> None:
    people = {"teacher": (0, 300, 8), "student": (300, 200, 6), "test": (FIRST_TEST_PERSON, 100, 8)}
    made = {
        name: SyntheticFaces(count, each, size=CROP, first_identity=first)
        for name, (first, count, each) in people.items()
    }
    for name, faces in made.items():
        write_folder(faces, tmp_path / f"{name}-faces", workers=2)
    write_pair_list(tmp_path / "pairs.csv", made["test"], 2000, np.random.default_rng(0))
    benchmark = load_pair_list(tmp_path / "pairs.csv", tmp_path / "test-faces")
    students = FolderDataset(tmp_path / "student-faces")
    common: dict[str, Any] = {"input_size": CROP, "device": "cpu", "workers": 2}

    options = TeacherOptions(
        **common, model="tinyfacenet", width=3.0, embedding_size=64, head="cosface", scale=32.0, margin=0.2, epochs=8
    )
    train_teacher(FolderDataset(tmp_path / "teacher-faces"), RunFolder(tmp_path / "teacher"), options)
    teacher = load_embedder(tmp_path / "teacher", device="cpu")

    follow: dict[str, Any] = {**common, "method": "cosine"}
    distill(
        students, teacher, RunFolder(tmp_path / "parent"),
        DistillOptions(**follow, student="tinyfacenet", epochs=25, lr=0.1),
    )  # fmt: skip
    result = prune(load_model_checkpoint(tmp_path / "parent"), macs=0.5)
    assert result.after.multiply_adds / result.before.multiply_adds == pytest.approx(0.5, abs=0.02)
    write_pruned(tmp_path / "pruned", result.checkpoint, {})
    distill(
        students, teacher, RunFolder(tmp_path / "recovered"),
        DistillOptions(**follow, epochs=25, lr=0.05), init=tmp_path / "pruned",
    )  # fmt: skip

    accuracy = {
        name: 100 * evaluate_verification(load_embedder(tmp_path / name, device="cpu"), benchmark).accuracy
        for name in ("teacher", "parent", "pruned", "recovered")
    }
    assert accuracy["parent"] > 60, accuracy
    assert accuracy["recovered"] > accuracy["parent"] - 1, accuracy
    assert accuracy["pruned"] < accuracy["recovered"], accuracy
