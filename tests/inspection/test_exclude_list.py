from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from facedistill.data.exclusions import read_exclusions
from facedistill.errors import DataError, UsageError
from facedistill.inspection.contents import folder_contents
from facedistill.inspection.duplicates import DuplicateGroup, NearDuplicate
from facedistill.inspection.exclude_list import Exclusion, check_exclude_path, find_exclusions, write_exclude_list
from facedistill.inspection.inspect_dataset import inspect_dataset
from facedistill.inspection.label_noise import LabelNoise, SamePerson, WrongLabel
from facedistill.inspection.overlap import Overlap, SharedPerson, SharedPicture
from facedistill.inspection.report import InspectReport


@pytest.fixture(scope="module")
def good(faces: Path) -> InspectReport:
    return inspect_dataset(folder_contents(faces))


def names(report: InspectReport) -> list[tuple[str, str]]:
    return [(found.kind, found.name) for found in find_exclusions(report)]


def test_nothing_to_leave_out(good: InspectReport) -> None:
    assert find_exclusions(good) == []


def test_broken_images_and_copies(good: InspectReport) -> None:
    report = replace(
        good,
        unreadable=(("z/broken.jpg", "the file is empty (zero bytes)"),),
        duplicates=(DuplicateGroup(("a/1", "b/1"), True, 2), DuplicateGroup(("c/1", "c/2", "c/3"), False, 1)),
        near_duplicates=(NearDuplicate("d/1", "e/1", 0.9),),
    )
    assert names(report) == [("image", name) for name in ("a/1", "b/1", "c/2", "c/3", "d/1", "e/1", "z/broken.jpg")]
    reasons = {found.name: found.reason for found in find_exclusions(report)}
    assert reasons["c/3"] == "a copy of c/1"
    assert reasons["z/broken.jpg"] == "no whole image: the file is empty (zero bytes)"


def test_what_the_model_found_and_what_is_shared(good: InspectReport) -> None:
    noise = LabelNoise(
        model="m", stranger=0.3, alike=0.7, judged=9,
        wrong=(WrongLabel("a/1", "a", 0.1, "b", 0.8), WrongLabel("a/2", "a", 0.2, None, 0.4)),
        split=("two",), pairs=(SamePerson("big", "small", 0.9, "big/1", "small/1"),), more_pairs=0,
    )  # fmt: skip
    overlap = Overlap(
        "bench", 5, 0, (SharedPicture("a/1", "x/1", "the same bytes"),), 0,
        (SharedPerson("identity", "leak", "x", 0.81), SharedPerson("image", "loose.png", "y", 0.8)), 0.7,
    )  # fmt: skip
    found = find_exclusions(replace(good, model="m", label_noise=noise, overlaps=(overlap,)))
    assert [(one.kind, one.name) for one in found] == [
        ("identity", "leak"), ("identity", "small"), ("identity", "two"),
        ("image", "a/1"), ("image", "a/2"), ("image", "loose.png"),
    ]  # fmt: skip
    assert found[3].reason == "unlike a (0.100), looks like b (0.800); in bench: the same bytes as x/1"
    assert found[1].reason == "looks like big (0.900)"


def test_names_of_any_kind_are_read_back(tmp_path: Path) -> None:
    odd = ["a, b.jpg", 'say "hi".jpg', "line\nfeed\r.png", "\x1b[31m.png", " blank .png", "\udcff\udc80.jpg", "käse/1"]
    write_exclude_list(tmp_path / "new" / "x.csv", [Exclusion("image", name, "r, s") for name in odd])
    write_exclude_list(tmp_path / "y.csv", [Exclusion("identity", name, "r") for name in odd])
    assert read_exclusions(tmp_path / "new" / "x.csv").images == frozenset(odd)
    assert read_exclusions(tmp_path / "y.csv").identities == frozenset(odd)
    content = (tmp_path / "new" / "x.csv").read_bytes()
    assert content.startswith(b'kind,name,reason\nimage,"a, b.jpg","r, s"\n')
    assert b"\xff\x80.jpg" in content


def test_an_earlier_list_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    check_exclude_path(path, overwrite=False)
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"the list is there already\. Add --overwrite"):
        check_exclude_path(path, overwrite=False)
    check_exclude_path(path, overwrite=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        check_exclude_path(tmp_path / "folder", overwrite=True)
    with pytest.raises(DataError, match="the list cannot be written"):
        write_exclude_list(tmp_path / "folder", [])
