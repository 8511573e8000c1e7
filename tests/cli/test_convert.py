from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from facedistill.data.conversion.target import MARKER

from .conftest import Call


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_round_the_formats(call: Call, faces: Path, tmp_path: Path) -> None:
    steps = [
        (faces, "set.rec", []),
        (tmp_path / "set.rec", "shards", ["--to", "shards"]),
        (tmp_path / "shards", "back", ["--check"]),
    ]
    for source, out, options in steps:
        outcome = call("convert", source, tmp_path / out, *options)
        assert outcome.status == 0, outcome.err
        assert f"48 images, 8 people written to {tmp_path / out}" in outcome.out
        assert outcome.err == ""
    assert tree(tmp_path / "back") == tree(faces)


def test_several_data_sets_people_and_exclusions(call: Call, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text(f"{faces.name}/person_000001\nmade-up:2x2,size=32/person_000000\n")
    excluded = '"made-up:2x2,size=32/person_000000/0001"'
    (tmp_path / "without.csv").write_text(f"kind,name,reason\nimage,{excluded},blurred\n")
    outcome = call(
        "convert", faces, "made-up:2x2,size=32", tmp_path / "out", "--identities", tmp_path / "people.txt",
        "--exclude", tmp_path / "without.csv", "--json", tmp_path / "result.json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["images"], result["identities"], result["format"]) == (7, 2, "folder")
    assert len(result["renamed"]) == 1, "a colon is no letter for a folder"
    assert "1 image has another name now" in outcome.err
    made = [name for name in tree(tmp_path / "out") if name.startswith("made-up_2x2,size=32/")]
    assert made == ["made-up_2x2,size=32/person_000000/0000.png"]


@pytest.fixture
def pairs(call: Call, faces: Path, tmp_path: Path) -> Path:
    outcome = call("make-pairs", faces, "--out", tmp_path / "pairs.csv", "--pairs", 5, "--folds", 4)
    assert outcome.status == 0, outcome.err
    return tmp_path / "pairs.csv"


@pytest.fixture
def model(color_model: Callable[[int], Path]) -> Path:
    return color_model(64)


def test_a_pair_set_and_its_folder_are_evaluated_alike(
    call: Call, faces: Path, pairs: Path, tmp_path: Path, model: Path
) -> None:
    outcome = call("convert", faces, tmp_path / "own.bin", "--pairs", pairs)
    assert outcome.status == 0, outcome.err
    assert "80 images, 40 pairs written to" in outcome.out
    assert "not as in the list" in outcome.err, "4 folds are not the 10 of a .bin"
    assert call("convert", tmp_path / "own.bin", tmp_path / "folder").status == 0
    outcome = call(
        "eval", model, "--color", "rgb", "--mean", 127.5, "--std", 128,
        "--bin", tmp_path / "own.bin", "--pairs", tmp_path / "folder" / "pairs.csv",
        "--images", tmp_path / "folder", "--json", tmp_path / "figures.json", "--device", "cpu",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    by_list, by_bin = json.loads((tmp_path / "figures.json").read_text())["benchmarks"]
    for figure in ("accuracy", "accuracy_std", "folds", "fold_thresholds", "tar_at_far", "thresholds", "auc", "pairs"):
        assert by_list[figure] == by_bin[figure]


def test_what_cannot_be_read_is_said_and_strict_stops(call: Call, faces: Path, tmp_path: Path) -> None:
    assert call("convert", faces, tmp_path / "one").status == 0
    broken = tmp_path / "one" / "person_000003" / "0002.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert call("convert", tmp_path / "one", tmp_path / "copy").status == 0
    assert (tmp_path / "copy" / "person_000003" / "0002.png").stat().st_size == 100
    outcome = call("convert", tmp_path / "one", tmp_path / "checked", "--check", "--quiet")
    assert outcome.status == 0
    assert outcome.out == ""
    assert "1 image could not be read or decoded and is left out:" in outcome.err
    assert "person_000003/0002.png: the image is truncated" in outcome.err
    outcome = call("convert", tmp_path / "one", tmp_path / "strict", "--check", "--strict")
    assert outcome.status == 1
    assert "truncated" in outcome.err
    assert not (tmp_path / "strict").exists()


def test_the_wording_of_counts(call: Call, faces: Path, tmp_path: Path) -> None:
    assert call("convert", faces, tmp_path / "one").status == 0
    for number in range(7):
        (tmp_path / "one" / f"person_{number:06d}" / "0001.png").write_bytes(b"")
    outcome = call("convert", tmp_path / "one", tmp_path / "two")
    assert "note: 7 images could not be read and are left out:" in outcome.err
    assert "note:   person_000004/0001.png: the image is empty (0 bytes)" in outcome.err
    assert "person_000005" not in outcome.err
    assert "note:   and 2 more; --json FILE lists them all" in outcome.err
    outcome = call("convert", tmp_path / "one", tmp_path / "three", "--check", "--json", tmp_path / "all.json")
    assert "note: 7 images could not be read or decoded and are left out:" in outcome.err
    assert f"note:   and 2 more; {tmp_path / 'all.json'} lists them all" in outcome.err
    assert len(json.loads((tmp_path / "all.json").read_text())["skipped"]) == 7
    outcome = call("convert", "made-up:1x1,size=32", tmp_path / "four")
    assert f"1 image, 1 person written to {tmp_path / 'four'}" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("{faces}", "{tmp}/own.bin"), 2, "Add --pairs LIST"),
        (("{faces}", "{tmp}/x.tar"), 2, "--to shards"),
        (("{faces}", "{tmp}/x", "--to", "zip"), 2, "there is no format called 'zip'"),
        (("{faces}", "{faces}/x"), 2, "lie within one another"),
        (("{tmp}/nothing", "{tmp}/x"), 2, "there is no such data set"),
        (("{faces}",), 2, "Missing argument"),
        (("{faces}", "{tmp}"), 2, "is not empty, and it was not written by facedistill convert"),
        (("{faces}", "{tmp}/x", "--pairs", "{tmp}/none.csv"), 2, "there is no such pair list"),
    ],
)
def test_calls_that_are_wrong(
    call: Call, faces: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    (tmp_path / "something").touch()
    outcome = call("convert", *(argument.format(faces=faces, tmp=tmp_path) for argument in arguments))
    assert outcome.status == status
    assert message in " ".join(outcome.err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["something"]


def test_an_earlier_result_needs_overwrite(call: Call, tmp_path: Path) -> None:
    arguments = ("convert", "made-up:2x2,size=32", tmp_path / "out")
    assert call(*arguments).status == 0
    outcome = call(*arguments)
    assert outcome.status == 2
    assert "Use --overwrite" in outcome.err
    assert call(*arguments, "--overwrite").status == 0
