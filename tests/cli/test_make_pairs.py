from __future__ import annotations

import json
from pathlib import Path

import pytest

from facedistill.data.folder import FolderDataset
from facedistill.evaluation.pair_list import load_pair_list

from .conftest import Call

FEW = ("--pairs", 5, "--folds", 3)


def test_a_benchmark_of_own_faces(call: Call, faces: Path, tmp_path: Path) -> None:
    outcome = call("make-pairs", faces, "--out", tmp_path / "a.csv", *FEW, "--json", tmp_path / "made.json")
    assert outcome.status == 0, outcome.err
    assert "images used" in outcome.out
    assert f"15 genuine and 15 impostor pairs written to {tmp_path / 'a.csv'}" in outcome.out
    made = json.loads((tmp_path / "made.json").read_text())
    assert (made["folds"], made["genuine"], made["impostor"], made["hard"], made["people"]) == (3, 15, 15, 0, 8)
    assert made["dataset_fingerprint"] == FolderDataset(faces).fingerprint
    benchmark = load_pair_list(tmp_path / "a.csv", faces)
    assert benchmark.fold_scheme == "the list's own 3 folds"
    call("make-pairs", faces, "--out", tmp_path / "b.csv", *FEW, "--quiet")
    call("make-pairs", faces, "--out", tmp_path / "c.csv", *FEW, "--seed", 1)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() != (tmp_path / "c.csv").read_bytes()


def test_hard_negatives_are_harder(call: Call, faces: Path, tmp_path: Path, teacher_run: Path) -> None:
    figures = {}
    for name, options in (("random", ()), ("hard", ("--model", teacher_run, "--device", "cpu"))):
        outcome = call("make-pairs", faces, "--out", tmp_path / f"{name}.csv", *FEW, *options)
        assert outcome.status == 0, outcome.err
        call(
            "eval", teacher_run, "--pairs", tmp_path / f"{name}.csv", "--images", faces, "--device", "cpu",
            "--json", tmp_path / f"{name}.json",
        )  # fmt: skip
        figures[name] = json.loads((tmp_path / f"{name}.json").read_text())["benchmarks"][0]["auc"]
    assert figures["hard"] < figures["random"]
    assert "15 impostor pairs are those that" in outcome.err
    assert "biased against it" in outcome.err


def test_people_and_exclusions(call: Call, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("".join(f"person_{number:06d}\n" for number in range(5)))
    (tmp_path / "without.csv").write_text("kind,name,reason\nidentity,person_000000,unsure\n")
    outcome = call(
        "make-pairs", faces, "--out", tmp_path / "pairs.csv", "--pairs", 5, "--folds", 2,
        "--identities", tmp_path / "people.txt", "--exclude", tmp_path / "without.csv",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    text = (tmp_path / "pairs.csv").read_text()
    assert [f"person_{number:06d}" in text for number in range(6)] == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--out", "{tmp}/pairs.txt", *FEW), 2, "Write a .csv list instead"),
        (("--out", "{tmp}/pairs.json"), 2, "a pair list ends in .csv or .txt"),
        (("--out", "{tmp}/pairs.csv"), 1, "make 0 genuine and as many impostor pairs in each of 10 folds"),
        (("--out", "{tmp}/pairs.csv", "--folds", "4"), 1, "make 30 genuine and as many"),
        (("--out", "{tmp}/pairs.csv", "--folds", "1"), 2, "folds"),
        (("--out", "{tmp}/pairs.csv", *FEW, "--color", "rgb"), 2, "go with --model"),
        (("--out", "{tmp}/there.csv", *FEW), 2, "Use --overwrite"),
        ((), 2, "Missing option"),
    ],
)
def test_calls_that_are_wrong(
    call: Call, faces: Path, tmp_path: Path, options: tuple[object, ...], status: int, message: str
) -> None:
    (tmp_path / "there.csv").touch()
    outcome = call("make-pairs", faces, *(str(option).format(tmp=tmp_path) for option in options))
    assert outcome.status == status
    assert message in " ".join(outcome.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]


def test_an_earlier_list_is_replaced_when_asked(call: Call, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").touch()
    assert call("make-pairs", faces, "--out", tmp_path / "pairs.csv", *FEW, "--overwrite").status == 0
    assert (tmp_path / "pairs.csv").stat().st_size > 0
