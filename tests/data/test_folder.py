from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.folder import FolderDataset
from facedistill.data.identity_list import read_identities
from facedistill.data.images import write_image
from facedistill.errors import DataError, UsageError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for person, count in (("bob", 2), ("anna", 3), ("zoe", 1)):
        for number in range(count):
            image = np.full((8, 8, 3), 10 * number, dtype=np.uint8)
            write_image(tmp_path / "faces" / person / f"{number}.png", image)
    return tmp_path / "faces"


def test_labels_follow_the_sorted_names(people: Path) -> None:
    dataset = FolderDataset(people)
    assert isinstance(dataset, FaceDataset)
    assert dataset.identities == ["anna", "bob", "zoe"]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert dataset.labels.dtype == np.int64
    assert [dataset.key(index) for index in range(6)][2:4] == ["anna/2.png", "bob/0.png"]
    assert dataset.image(1)[0, 0].tolist() == [10, 10, 10]


def test_a_name_that_is_no_utf8(people: Path) -> None:
    first = next(people.rglob("*.*"))
    try:
        first.rename(first.with_name(f"\udcff{first.suffix}"))
    except OSError:
        pytest.skip("this file system takes no such names")
    assert len(FolderDataset(people).fingerprint) == 64


def test_fingerprint_follows_the_content(people: Path) -> None:
    first = FolderDataset(people).fingerprint
    assert FolderDataset(people).fingerprint == first
    write_image(people / "bob" / "9.png", np.zeros((8, 8, 3), dtype=np.uint8))
    assert FolderDataset(people).fingerprint != first


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        FolderDataset(tmp_path / "none")
    with pytest.raises(DataError, match="holds no images"):
        FolderDataset(tmp_path)
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="nothing says who is who"):
        FolderDataset(tmp_path)


def test_identity_lists(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Ann Lee\nBob\n\n")
    assert read_identities(path) == {"Ann Lee", "Bob"}
    path.write_text("3\n")
    with pytest.raises(DataError, match="names nobody"):
        read_identities(path)
    with pytest.raises(UsageError, match="there is no such list of identities"):
        read_identities(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        read_identities(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_identities(path)
