"""Every head learns twenty made-up people by heart, through the engine that real trainings go through.

So few steps of so small a network do not get past the published scales and margins of angular heads, 64 and 0.5: the
scale is 16 here, and the margin 0.1 where a head takes one. Softmax, and what else is published, stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_folder
from facedistill.distill.method import DistillationBatch
from facedistill.heads import HEADS
from facedistill.training.listeners import Listeners
from facedistill.training.loop import fit
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions, prepare_teacher

IDENTITIES, IMAGES, SIZE = 20, 5, 32
TAKE_A_MARGIN = {"adaface", "arcface", "cosface", "curricularface", "subcentre-arcface"}

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> FolderDataset:
    folder = tmp_path_factory.mktemp("people")
    write_folder(SyntheticFaces(IDENTITIES, IMAGES, size=SIZE, difficulty=0.3), folder)
    return FolderDataset(folder)


@pytest.mark.parametrize(
    ("head", "changes"),
    [
        *((entry.name, {}) for entry in HEADS),
        ("arcface", {"partial_fc": 1.0}),
        # Of a batch of 10 each step takes 10 centres, and so half of the classes, of which the batch's are a good part.
        ("arcface", {"partial_fc": 0.3, "batch_size": 10, "lr": 0.05}),
    ],
)
def test_it_learns_twenty_people_by_heart(
    head: str, changes: dict[str, Any], people: FolderDataset, tmp_path: Path
) -> None:
    notes: list[str] = []
    values: dict[str, Any] = {
        "model": "tinyfacenet",
        "head": head,
        "embedding_size": 128,
        "input_size": SIZE,
        "batch_size": 25,
        "epochs": 25,
        "warmup_epochs": 2,
        "mirror": False,
        "scale": None if head == "softmax" else 16.0,
        "margin": 0.1 if head in TAKE_A_MARGIN else None,
        "device": "cpu",
        **changes,
    }
    training = prepare_teacher(
        people, RunFolder(tmp_path / "run"), TeacherOptions(**values), listeners=Listeners(note=notes.append)
    )
    records = fit(training)
    assert records[-1]["train_accuracy"] > 0.99
    # In evaluation mode, among all classes, without a margin.
    pixels = torch.from_numpy(np.stack([people.image(index) for index in range(len(people))]))
    net, objective = training.backbone.eval(), training.objective.eval()
    with torch.no_grad():
        embeddings = net(training.preprocessing.to_tensor(pixels))
        batch = DistillationBatch(embeddings, embeddings.new_zeros(len(embeddings), 0), torch.from_numpy(people.labels))
        figures = objective(batch).figures
    assert float(figures["train_accuracy"].total) > 0.99 * len(people)
    assert notes == []
