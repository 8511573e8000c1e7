from __future__ import annotations

import re
from pathlib import Path

import pytest

from facedistill.errors import DataError, FacedistillError, UsageError
from facedistill.evaluation.suite import Suite, load_suite


@pytest.fixture
def suite(photos: Path) -> Path:
    """A suite beside the photos, of a pair list, all pairs, and all pairs of two people."""
    pairs = ["path_a,path_b,same"]
    for one, other in (("Ann", "Cy"), ("Bo_B", "Di")):
        pairs += [f"{one}/{one}_0001.png,{one}/{one}_0002.png,1", f"{one}/{one}_0003.png,{other}/{other}_0001.png,0"]
    (photos.parent / "lists").mkdir()
    (photos.parent / "lists" / "own.csv").write_text("\n".join(pairs))
    (photos.parent / "some.txt").write_text("Ann\nCy\n")
    path = photos.parent / "suite.yaml"
    path.write_text(
        "benchmarks:\n"
        "  - {pairs: lists/own.csv, images: photos, name: our people}\n"
        "  - {all-pairs: photos}\n"
        "  - {all-pairs: photos, identities: some.txt}\n"
    )
    return path


def test_paths_are_relative_to_the_file(suite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = load_suite(suite)
    (benchmark,) = found.benchmarks
    assert (benchmark.name, len(benchmark.pairs)) == ("our people", 4)
    assert [(part.name, len(part.dataset)) for part in found.labelled] == [("photos", 16), ("photos, some", 8)]
    assert found + Suite(labelled=found.labelled[:1]) == Suite(found.benchmarks, (*found.labelled, found.labelled[0]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the suite names no benchmark"),
        ("benchmarks: []", "the suite names no benchmark"),
        ("- {bin: lfw.bin}", "the suite names no benchmark"),
        ("benchmarks: [lfw.bin]", "benchmark 1: an entry has keys and paths"),
        ("benchmarks: [{bin: 3}]", "benchmark 1: an entry has keys and paths"),
        ("benchmarks: [{name: x}]", "benchmark 1: an entry is of one kind, and this has none of pairs, bin, all-pairs"),
        ("benchmarks: [{bin: a, pairs: b}]", "this has pairs and bin"),
        ("benchmarks: [{bni: a}]", "there is no key called 'bni'. Did you mean 'bin'?"),
        ("benchmarks: [{bin: a, images: b}]", "there is no key called 'images'"),
        ("benchmarks: [{pairs: a}]", "a pair list needs its images. Add images: FOLDER"),
        ("benchmarks: [{all-pairs: photos}, {bin: lfw.bin}]", "lfw.bin"),
        ("benchmarks: [", "the suite is no YAML"),
    ],
)
def test_what_is_no_suite(content: str, message: str, suite: Path) -> None:
    suite.write_text(content)
    with pytest.raises(FacedistillError, match=re.escape(message)) as error:
        load_suite(suite)
    assert str(suite.parent) in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such suite"):
        load_suite(tmp_path / "suite.yaml")
    (tmp_path / "suite.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="the suite cannot be read"):
        load_suite(tmp_path / "suite.yaml")
