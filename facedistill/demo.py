"""The whole road on made-up faces: align, train a teacher, distil, export, judge. Offline, in minutes."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors import DETECTORS
from facedistill.align.pipeline import align_folder
from facedistill.checkpoint import load_checkpoint
from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces, write_folder, write_photos
from facedistill.embedders.load import find_checkpoint, load_embedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.evaluation.benchmark import Benchmark
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import VerificationResult, evaluate_verification
from facedistill.export.export import export_onnx
from facedistill.models.complexity import count_parameters
from facedistill.training.distill import distill
from facedistill.training.distill_options import DistillOptions
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.train_teacher import TeacherOptions, train_teacher

Progress = Callable[[int, int], None]
Stage = Callable[[str], AbstractContextManager[Progress]]

# Test people start here, far from the people of any training set.
FIRST_TEST_PERSON = 1_000_000


@dataclass(frozen=True)
class DemoPlan:
    """How big each part of the demo is; all of it ours, chosen to fit two processor cores and a few minutes.

    The teacher has seen many people and the students a few others, which is the usual lot of somebody who distils a
    teacher on photos of his own.

    Args:
        teacher_people: people that the teacher is trained on.
        teacher_images: crops of each of them.
        student_people: other people, that the students are trained on.
        student_images: crops of each of them.
        test_people: people to judge on, never trained on.
        test_images: crops of each of them.
        pairs: genuine pairs of the benchmark, and as many impostor ones.
        photos: unaligned photos that walk through `align`.
        size: side of the crops in pixels.
        teacher_width: width of the teacher.
        teacher_epochs: its epochs.
        student_width: width of the students.
        start_epochs: epochs of the start that all triplet students share.
        triplet_epochs: epochs after it; the student without a teacher is trained for the sum of both.
        triplet_lr: learning rate after the start.
    """

    teacher_people: int = 600
    teacher_images: int = 12
    student_people: int = 300
    student_images: int = 4
    test_people: int = 120
    test_images: int = 10
    pairs: int = 3000
    photos: int = 24
    size: int = 64
    teacher_width: float = 3.0
    teacher_epochs: int = 8
    student_width: float = 1.0
    start_epochs: int = 20
    triplet_epochs: int = 30
    triplet_lr: float = 0.1


@dataclass(frozen=True)
class DemoRow:
    """One model of the demo: what it costs and how well it tells unseen people apart."""

    model: str
    parameters: int
    file_bytes: int
    result: VerificationResult


@dataclass(frozen=True)
class DemoResult:
    """What `facedistill demo` prints.

    Attributes:
        rows: one a model.
        photos: photos that were aligned.
        found: of those, how many faces were found.
        seconds: how long all of it took.
        seed: what decided everything random.
        plan: how big each part was.
    """

    rows: tuple[DemoRow, ...]
    photos: int
    found: int
    seconds: float
    seed: int
    plan: DemoPlan

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print; rates in %."""
        columns = ("model", "parameters", "size", "accuracy", "TAR at FAR 1e-1", "TAR at FAR 1e-2")
        return columns, [
            (
                row.model,
                f"{row.parameters / 1e3:.1f} k",
                f"{row.file_bytes / 1e6:.2f} MB",
                f"{100 * row.result.accuracy:.2f} ± {100 * row.result.accuracy_std:.2f}",
                f"{100 * (row.result.tar_at_far['1e-1'] or 0):.2f}",
                f"{100 * (row.result.tar_at_far['1e-2'] or 0):.2f}",
            )
            for row in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "photos": self.photos,
            "faces_found": self.found,
            "plan": asdict(self.plan),
            "models": [
                {
                    "model": row.model,
                    "parameters": row.parameters,
                    "bytes": row.file_bytes,
                    **row.result.to_dict(),
                }
                for row in self.rows
            ],
        }


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    plan: DemoPlan | None = None,
    device: str = "auto",
    workers: int = 2,
    stage: Stage,
    say: Callable[[str], None],
) -> DemoResult:
    """Walk the whole road in `out`, which is empty or does not exist.

    The student without a teacher, the one with fixed-margin triplets and the one with triplet distillation have the
    same network, data, seed and number of epochs.

    Args:
        out: keeps all that the demo makes: crops, runs, the pair list and the ONNX file.
        seed: decides everything random.
        plan: how big each part is.
        device: "auto", "cpu" or "cuda".
        workers: processes that draw faces and threads that read them.
        stage: opens a progress display for a named stage.
        say: told what was done.
    """
    plan = DemoPlan() if plan is None else plan
    started = time.monotonic()
    faces, benchmark = draw_faces(out, plan, seed, workers=workers, stage=stage)
    found = align_photos(out, plan, seed, workers=workers, stage=stage)
    say(f"align: a face was found in {found} of {plan.photos} photos ({out / 'aligned'})")
    common: dict[str, Any] = {"input_size": plan.size, "seed": seed, "device": device, "workers": workers}
    head: dict[str, Any] = {**common, "model": "tinyfacenet", "head": "cosface", "scale": 32.0, "margin": 0.2}
    head |= {"embedding_size": 64}

    def classify(name: str, people: str, width: float, epochs: int) -> Path:
        options = TeacherOptions(**head, width=width, epochs=epochs)
        with stage(name) as progress:
            train_teacher(faces[people], RunFolder(out / name), options, listeners=Listeners(progress=progress))
        return out / name

    teacher_run = classify("teacher", "teacher-faces", plan.teacher_width, plan.teacher_epochs)
    teacher = load_embedder(teacher_run, device=device)
    start = classify("start", "student-faces", plan.student_width, plan.start_epochs)
    classify("undistilled", "student-faces", plan.student_width, plan.start_epochs + plan.triplet_epochs)
    for method in ("triplet", "triplet-distillation"):
        options = DistillOptions(**common, method=method, epochs=plan.triplet_epochs, lr=plan.triplet_lr)
        with stage(method) as progress:
            distill(
                faces["student-faces"],
                teacher,
                RunFolder(out / method),
                options,
                init=start,
                listeners=Listeners(progress=progress),
            )
    student = find_checkpoint(out / "triplet-distillation")
    exported = export_onnx(load_checkpoint(student), out / "student.onnx")

    files = {
        "teacher": find_checkpoint(teacher_run),
        "student, no teacher": find_checkpoint(out / "undistilled"),
        "student, fixed-margin triplets": find_checkpoint(out / "triplet"),
        "student, triplet distillation": student,
        "the same as ONNX": exported.path,
    }
    rows: list[DemoRow] = []
    for name, file in files.items():
        embedder = load_embedder(file, device=device)
        parameters = exported.parameters
        if isinstance(embedder, TorchEmbedder):
            parameters = count_parameters(embedder.backbone)
        result = evaluate_verification(embedder, benchmark, batch_size=128)
        rows.append(DemoRow(name, parameters, file.stat().st_size, result))
    outcome = DemoResult(tuple(rows), plan.photos, found, time.monotonic() - started, seed, plan)
    (out / "demo.json").write_text(json.dumps(outcome.to_dict(), indent=2) + "\n", encoding="utf-8")
    return outcome


def draw_faces(
    out: Path, plan: DemoPlan, seed: int, *, workers: int, stage: Stage
) -> tuple[dict[str, FolderDataset], Benchmark]:
    """Write the crops of three groups of people that have nobody in common, and a pair list of the test people."""
    groups = {
        "teacher-faces": SyntheticFaces(plan.teacher_people, plan.teacher_images, seed=seed, size=plan.size),
        "student-faces": SyntheticFaces(
            plan.student_people,
            plan.student_images,
            seed=seed,
            size=plan.size,
            first_identity=plan.teacher_people,
        ),
        "test-faces": SyntheticFaces(
            plan.test_people, plan.test_images, seed=seed, size=plan.size, first_identity=FIRST_TEST_PERSON
        ),
    }
    for name, dataset in groups.items():
        with stage(f"drawing {name}") as progress:
            write_folder(dataset, out / name, workers=workers, progress=progress)
    write_pair_list(out / "pairs.csv", groups["test-faces"], plan.pairs, np.random.default_rng(seed))
    benchmark = load_pair_list(out / "pairs.csv", out / "test-faces")
    return {name: FolderDataset(out / name) for name in ("teacher-faces", "student-faces")}, benchmark


def write_pair_list(path: Path, dataset: SyntheticFaces, count: int, generator: np.random.Generator) -> None:
    """Write `count` genuine and `count` impostor pairs, drawn from all there are, as CSV."""
    first, second = np.triu_indices(len(dataset), 1)
    same = dataset.labels[first] == dataset.labels[second]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path_a", "path_b", "same"))
        for genuine in (True, False):
            candidates: npt.NDArray[np.int64] = np.flatnonzero(same == genuine)
            for pair in generator.choice(candidates, size=min(count, len(candidates)), replace=False):
                keys = (f"{dataset.key(int(index))}.png" for index in (first[pair], second[pair]))
                writer.writerow((*keys, int(genuine)))


def align_photos(out: Path, plan: DemoPlan, seed: int, *, workers: int, stage: Stage) -> int:
    """Draw whole photos of test people and align them by the face detector; gives how many faces were found."""
    photos = SyntheticFaces(plan.photos, 1, seed=seed, first_identity=FIRST_TEST_PERSON)
    write_photos(photos, out / "photos")
    with stage("aligning photos") as progress:
        report = align_folder(
            out / "photos", out / "aligned", detector=DETECTORS["mtcnn"](), workers=workers, progress=progress
        )
    return report.crops
