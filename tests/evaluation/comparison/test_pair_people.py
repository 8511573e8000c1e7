from __future__ import annotations

from pathlib import Path

import numpy as np

from facedistill.data.image_files import ImageFiles
from facedistill.data.open_dataset import open_dataset
from facedistill.data.subset import Subset
from facedistill.data.verification_bin import read_bin, write_bin
from facedistill.evaluation.comparison.pair_people import people_of_pairs

NAMES = ("Ann/1.png", "Ann/2.png", "Bo/1.png", "x/Cy/1.png", "y/Cy/2.png", "loose.png", "other.png")


def people(pairs: list[tuple[int, int]], same: list[int]) -> list[list[int]] | None:
    found = people_of_pairs(ImageFiles(Path("somewhere"), NAMES), np.array(pairs), np.array(same, dtype=bool))
    return None if found is None else found.tolist()


def test_folders_are_people_where_the_flags_say_so() -> None:
    found = people([(0, 1), (1, 2), (2, 0)], [1, 0, 0])
    assert found is not None
    assert found[0][0] == found[0][1] == found[1][0] == found[2][1] != found[1][1]
    assert found[1][1] == found[2][0]


def test_folders_that_are_no_people() -> None:
    assert people([(0, 1), (0, 2)], [1, 1]) is None, "a genuine pair across two"
    assert people([(0, 1), (1, 2)], [0, 0]) is None, "an impostor pair within one"
    assert people([(3, 4)], [1]) is None, "folders of one name in different places are different"
    assert people([(5, 6)], [0]) is None, "a flat folder tells nothing"


def test_a_part_of_a_data_set_has_labels(faces: Path) -> None:
    dataset = open_dataset(faces)
    part = Subset(dataset, np.array([0, 1, 12, 13]))
    pairs = np.array([[0, 1], [0, 2], [3, 1]])
    found = people_of_pairs(part, pairs, np.array([True, False, False]))
    assert found is not None
    assert found.tolist() == part.labels[pairs].tolist()
    assert people_of_pairs(part, pairs, np.array([True, True, False])) is None


def test_a_bin_file_names_nobody(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", [b"1", b"2", b"3", b"4"], [True, False])
    content = read_bin(tmp_path / "a.bin")
    assert people_of_pairs(content, content.pairs, content.same) is None
