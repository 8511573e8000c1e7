from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facedistill.data.folder import FolderDataset
from facedistill.demo import DemoPlan, DemoResult, Progress, run_demo
from facedistill.embedders.load import load_embedder
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import evaluate_verification

PLAN = DemoPlan(
    teacher_people=6,
    teacher_images=6,
    student_people=5,
    student_images=4,
    test_people=6,
    test_images=4,
    pairs=36,
    photos=2,
    teacher_width=0.5,
    teacher_epochs=25,
    student_width=0.25,
    start_epochs=15,
    triplet_epochs=2,
)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult, list[str]]:
    stages: list[str] = []

    @contextmanager
    def stage(name: str) -> Iterator[Progress]:
        stages.append(name)
        yield lambda done, total: None

    out = tmp_path_factory.mktemp("demo")
    result = run_demo(out, plan=PLAN, device="cpu", workers=1, stage=stage, say=stages.append)
    return out, result, stages


def test_the_table_has_every_model_and_the_onnx_row_equals_the_student(
    walked: tuple[Path, DemoResult, list[str]],
) -> None:
    _, result, _ = walked
    columns, rows = result.table()
    assert [row[0] for row in rows] == [
        "teacher",
        "student, no teacher",
        "student, fixed-margin triplets",
        "student, triplet distillation",
        "the same as ONNX",
    ]
    assert all(len(row) == len(columns) for row in rows)
    distilled, exported = result.rows[3], result.rows[4]
    assert exported.result.folds == distilled.result.folds
    # The export folds what a batch norm multiplies by into the convolution before it.
    assert 0 < exported.parameters < distilled.parameters < result.rows[0].parameters


def test_nobody_is_in_two_groups(walked: tuple[Path, DemoResult, list[str]]) -> None:
    out, _, _ = walked
    groups = [set(FolderDataset(out / name).identities) for name in ("teacher-faces", "student-faces", "test-faces")]
    assert [len(group) for group in groups] == [6, 5, 6]
    assert len(set.union(*groups)) == 17


def test_what_is_kept_can_be_judged_again(walked: tuple[Path, DemoResult, list[str]]) -> None:
    out, result, stages = walked
    benchmark = load_pair_list(out / "pairs.csv", out / "test-faces")
    again = evaluate_verification(load_embedder(out / "student.onnx", device="cpu"), benchmark)
    assert again.accuracy == result.rows[4].result.accuracy
    assert json.loads((out / "demo.json").read_text())["models"][4]["accuracy"] == again.accuracy
    assert len(list((out / "aligned").rglob("*.jpg"))) == result.found
    assert "triplet-distillation" in stages


def test_all_students_had_the_same_number_of_epochs(walked: tuple[Path, DemoResult, list[str]]) -> None:
    out, _, _ = walked
    epochs = {name: len((out / name / "metrics.jsonl").read_text().splitlines()) for name in
              ("start", "undistilled", "triplet", "triplet-distillation")}  # fmt: skip
    assert epochs["start"] + epochs["triplet"] == epochs["undistilled"] == 17
    assert epochs["triplet"] == epochs["triplet-distillation"]
