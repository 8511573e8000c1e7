from __future__ import annotations

from pathlib import Path

import pytest

from facedistill.data.corrupt_images import CorruptImages
from facedistill.data.exclusions import read_exclusions
from facedistill.errors import DataError


def test_they_are_listed_as_exclusions(tmp_path: Path) -> None:
    path = tmp_path / "corrupt.csv"
    corrupt = CorruptImages(100, 0.02, path)
    assert corrupt.summary("left out") is None
    assert not path.exists()
    corrupt.add({"b,\udcff.png": "empty"})
    corrupt.add({"a.png": "truncated"})
    corrupt.add({"a.png": "truncated"})
    assert len(corrupt) == 2
    assert read_exclusions(path).images == {"b,\udcff.png", "a.png"}
    assert path.read_bytes().splitlines()[1] == b"image,a.png,truncated"
    assert corrupt.summary("left out") == f"2 corrupt images were left out: a.png, b,\\udcff.png; see {path}"
    with pytest.raises(DataError, match=r"3 images are corrupt, and --max-corrupt 0.02 allows 2 of 100"):
        corrupt.add({"c.png": "empty"})


def test_one_is_one_too_many_where_none_is_allowed() -> None:
    with pytest.raises(DataError, match=r"1 image is corrupt.*allows 0 of 10; the first is 'a.png': empty"):
        CorruptImages(10, 0).add({"a.png": "empty"})


def test_of_any_share_one_image_at_least() -> None:
    corrupt = CorruptImages(10, 0.01)
    corrupt.add({"a.png": "empty"})
    with pytest.raises(DataError):
        corrupt.add({"b.png": "empty"})


def test_a_resumed_run_goes_on_with_its_list(tmp_path: Path) -> None:
    CorruptImages(10, 0.5, tmp_path / "corrupt.csv").add({"a.png": "empty, quite"})
    corrupt = CorruptImages(10, 0.5, tmp_path / "corrupt.csv")
    corrupt.take_over()
    corrupt.add({"b.png": "truncated"})
    assert read_exclusions(tmp_path / "corrupt.csv").images == {"a.png", "b.png"}
    assert len(corrupt) == 2
