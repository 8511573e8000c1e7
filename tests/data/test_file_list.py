from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.file_list import read_file_list
from facedistill.data.images import write_image
from facedistill.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("x/a b.png", "x/2.png", "y/3.png", "4.png")):
        write_image(tmp_path / name, np.full((8, 8, 3), number, dtype=np.uint8))
    return tmp_path


def check(dataset: FaceDataset, keys: list[str], owners: list[str]) -> None:
    assert isinstance(dataset, FaceDataset)
    assert [dataset.key(index) for index in range(len(dataset))] == keys
    assert [dataset.identities[label] for label in dataset.labels] == owners


def test_plain_lines(root: Path) -> None:
    path = root / "list.txt"
    path.write_text("y/3.png\n\nx/a b.png\tAnn Lee\r\n4.png\tAnn Lee\n")
    dataset = read_file_list(path)
    check(dataset, ["y/3.png", "x/a b.png", "4.png"], ["y", "Ann Lee", "Ann Lee"])
    assert dataset.image(2)[0, 0, 0] == 3


def test_csv(root: Path) -> None:
    path = root / "list.csv"
    path.write_text('identity, path ,age\nann,"x/a b.png",3\nbob,x\\2.png,4\n')
    check(read_file_list(path), ["x/a b.png", "x/2.png"], ["ann", "bob"])


def test_mxnet_lst(root: Path) -> None:
    path = root / "list.lst"
    path.write_text("0\t12.000000\tx/a b.png\n1\t3\ty/3.png\n2\t12.0\t0.5\t4.png\n")
    check(read_file_list(path), ["x/a b.png", "y/3.png", "4.png"], ["12", "3", "12"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "4.png\n", r"a.txt:1: .*nothing says who '4.png' shows"),
        ("a.txt", "x/2.png\nx/2.png\tbob\n", r"a.txt:2: .*listed before, in line 1"),
        ("a.txt", "x/2.png\ta\tb\n", r"a.txt:1: .*3 fields"),
        ("a.txt", "x/2.png\t \n", r"a.txt:1: .*the identity is empty"),
        ("a.txt", "\n", "names no images"),
        ("a.txt", "nowhere/2.png\n", r"none of the 1 listed images is there, not even 'nowhere/2.png'"),
        ("a.csv", "file,person\nx/2.png,bob\n", r"header row reads 'file,person'"),
        ("a.csv", "path,identity\nx/2.png\n", r"a.csv:2: .*not the header's 2 fields"),
        ("a.csv", "path,identity\n,bob\n", r"a.csv:2: .*the path is empty"),
        ("a.lst", "0\tx/2.png\n", r"a.lst:1: .*2 fields"),
    ],
)
def test_malformed_lists_are_named_by_their_line(root: Path, name: str, text: str, message: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_file_list(root / name)


def test_a_listed_file_that_is_missing_is_a_corrupt_image(root: Path) -> None:
    path = root / "list.txt"
    path.write_text("y/3.png\nx/gone.png\n")
    dataset = read_file_list(path)
    assert len(dataset.fingerprint) == 64
    with pytest.raises(DataError, match="cannot be read"):
        dataset.image(1)


def test_the_fingerprint_follows_the_labels(root: Path) -> None:
    path = root / "list.txt"
    path.write_text("y/3.png\ta\n")
    first = read_file_list(path).fingerprint
    path.write_text("y/3.png\tb\n")
    assert read_file_list(path).fingerprint != first


def test_paths_of_windows_and_absolute_ones(root: Path) -> None:
    for name, text in (("a.txt", "x\\2.png\tbob\n"), ("a.lst", "0\t7\tx\\2.png\n")):
        (root / name).write_text(text)
        dataset = read_file_list(root / name)
        assert dataset.key(0) == "x/2.png"
        assert dataset.image(0)[0, 0, 0] == 1
    (root / "lists").mkdir()
    (root / "lists" / "b.txt").write_text(f"{root}/y/3.png\tbob\n")
    dataset = read_file_list(root / "lists" / "b.txt")
    assert dataset.image(0)[0, 0, 0] == 2
    assert dataset.path(0) == root / "y" / "3.png"
