from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.image_files import ImageFiles
from facedistill.evaluation.trained_on import names_of, read_people, trained_on_warning


def test_people_of_a_list_and_of_a_folder(photos: Path, tmp_path: Path) -> None:
    assert read_people(photos) == {"Ann", "Bo_B", "Cy", "Di"}
    (tmp_path / "people.txt").write_text("2\nAnn\t4\nCy\t4\n")
    assert read_people(tmp_path / "people.txt") == {"Ann", "Cy"}


def test_names_of_a_benchmarks_people(photos: Path) -> None:
    dataset = FolderDataset(photos)
    some = np.flatnonzero(np.isin(dataset.labels, [1, 3]))[:5]
    assert names_of(dataset, some) == {"Bo_B", "Di"}
    files = ImageFiles(photos, ("Ann/Ann_0001.png", "Cy/Cy_0001.png", "Di/Di_0001.png"))
    assert names_of(files, np.array([0, 2])) == {"Ann", "Di"}
    assert names_of(ImageFiles(photos / "Ann", ("Ann_0001.png",)), np.array([0])) is None


@pytest.mark.parametrize(
    ("names", "trained", "expected"),
    [
        ({"a", "b"}, {"c"}, []),
        ({"a", "b"}, {"b", "c"}, ["1 of its 2 people is in the training data (b): the figures flatter the model"]),
        (set("abcdef"), set("abcdx"), ["4 of its 6 people are in the training data (a, b, c, ...): the figures flatter "
                                       "the model"]),
        (None, {"a"}, ["the names of its people are not known, so that nobody can be looked for in the training data"]),
    ],
)  # fmt: skip
def test_what_is_said(names: set[str] | None, trained: set[str], expected: list[str]) -> None:
    assert trained_on_warning(names, trained) == expected
