from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.exclusions import read_exclusions
from facedistill.data.folder import FolderDataset
from facedistill.data.images import write_image
from facedistill.data.open_dataset import open_dataset
from facedistill.data.records.writer import write_rec
from facedistill.data.shards.writer import write_shards
from facedistill.errors import DataError, UsageError


def make(folder: Path, people: dict[str, int], level: int = 0) -> Path:
    for person, count in people.items():
        for number in range(count):
            write_image(folder / person / f"{number}.png", np.full((8, 8, 3), 10 * number + level, dtype=np.uint8))
    return folder


def keys(dataset: FaceDataset) -> list[str]:
    return [dataset.key(index) for index in range(len(dataset))]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return make(tmp_path / "faces", {"anna": 3, "bob": 2, "zoe": 1})


def test_a_folder_is_opened_by_its_path(people: Path) -> None:
    dataset = open_dataset(str(people))
    assert isinstance(dataset, FaceDataset)
    assert keys(dataset) == keys(FolderDataset(people))
    assert dataset.encoded(1) == (people / "anna" / "1.png").read_bytes()


def test_only_the_listed_people(people: Path) -> None:
    dataset = open_dataset(people, identities={"zoe", "bob", "nobody"})
    assert isinstance(dataset, FaceDataset)
    assert dataset.identities == ["bob", "zoe"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert keys(dataset) == ["bob/0.png", "bob/1.png", "zoe/0.png"]
    assert dataset.image(1)[0, 0, 0] == 10
    assert dataset.fingerprint != open_dataset(people).fingerprint
    with pytest.raises(DataError, match="none of the 1 listed identities has images here") as caught:
        open_dataset(people, identities={"nobody"})
    assert caught.value.place == str(people)


def test_what_is_excluded_is_left_out(people: Path, tmp_path: Path) -> None:
    listed = tmp_path / "exclude.csv"
    listed.write_text(
        "kind,name,reason\nimage,anna/1.png,blurred\nidentity,bob,also in the benchmark\nimage,gone.png,\n"
    )
    notes: list[str] = []
    dataset = open_dataset(people, exclusions=read_exclusions(listed), note=notes.append)
    assert keys(dataset) == ["anna/0.png", "anna/2.png", "zoe/0.png"]
    assert dataset.identities == ["anna", "zoe"]
    assert notes == ["3 of 6 images are excluded; 1 of the 3 listed names are not here"]
    listed.write_text("kind,name,reason\n" + "".join(f"identity,{name},\n" for name in ("anna", "bob", "zoe")))
    with pytest.raises(DataError, match="nothing is left"):
        open_dataset(people, exclusions=read_exclusions(listed))


def test_lists_of_exclusions_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "exclude.csv"
    path.write_text("anna/1.png\n")
    with pytest.raises(DataError, match=r"exclude.csv:1: the list begins with 'anna/1.png'"):
        read_exclusions(path)
    path.write_text("kind,name\nperson,anna\n")
    with pytest.raises(DataError, match=r"exclude.csv:2"):
        read_exclusions(path)
    with pytest.raises(UsageError, match="there is no such list of exclusions"):
        read_exclusions(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_exclusions(tmp_path)


def test_a_name_with_a_comma_and_no_utf8_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "exclude.csv"
    path.write_bytes(b'kind,name,reason\nimage,"a,b/\xff.png",x\n')
    assert read_exclusions(path).images == {"a,b/\udcff.png"}


def test_several_roots_are_joined_and_equal_names_are_kept_apart(people: Path, tmp_path: Path) -> None:
    second = make(tmp_path / "more", {"anna": 1, "carl": 2}, level=5)
    dataset = open_dataset([people, second])
    assert isinstance(dataset, FaceDataset)
    assert dataset.identities == ["faces/anna", "faces/bob", "faces/zoe", "more/anna", "more/carl"]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 2, 3, 4, 4]
    assert keys(dataset)[5:7] == ["faces/zoe/0.png", "more/anna/0.png"]
    assert [int(dataset.image(index)[0, 0, 0]) for index in (5, 6, 8)] == [0, 5, 15]
    assert dataset.encoded(8) == (second / "carl" / "1.png").read_bytes()
    assert dataset.fingerprint != open_dataset([second, people]).fingerprint
    assert open_dataset([people, second], identities={"more/anna"}).identities == ["more/anna"]
    with pytest.raises(IndexError):
        dataset.image(9)


def test_two_roots_of_one_name(people: Path, tmp_path: Path) -> None:
    second = make(tmp_path / "other" / "faces", {"carl": 1})
    assert open_dataset([people, second]).identities == ["faces/anna", "faces/bob", "faces/zoe", "faces-2/carl"]


def test_names_of_parts_are_distinct_whatever_they_are_called(tmp_path: Path) -> None:
    roots = [make(tmp_path / name, {"carl": 1}) for name in ("a/x", "b/x", "x-2")]
    assert open_dataset(roots).identities == ["x/carl", "x-2/carl", "x-2-2/carl"]


def test_the_same_root_twice_is_refused(people: Path) -> None:
    with pytest.raises(UsageError, match="the data set is given twice"):
        open_dataset([people, f"{people.parent}/../{people.parent.name}/faces/"])


def test_shards_that_the_shell_has_expanded_are_one_data_set(people: Path, tmp_path: Path) -> None:
    tars = write_shards(FolderDataset(people), tmp_path / "shards", shard_images=2)
    assert len(tars) == 3
    assert open_dataset(tars).identities == ["anna", "bob", "zoe"]
    joined = open_dataset([*tars, people])
    assert joined.identities[:4] == ["shards/anna", "shards/bob", "shards/zoe", "faces/anna"]


def test_folders_beside_records_are_not_read_and_that_is_said(people: Path) -> None:
    write_rec(FolderDataset(people), people / "train.rec")
    notes: list[str] = []
    assert len(open_dataset(people, note=notes.append)) == 6
    assert notes == [f"{people} holds train.rec and is opened as that; the folders beside it are not read"]


def test_a_list_that_fits_nothing_here_is_refused(people: Path, tmp_path: Path) -> None:
    listed = tmp_path / "exclude.csv"
    listed.write_text("kind,name,reason\nimage,anna/1.png,blurred\n")
    with pytest.raises(DataError, match=r"none of the 1 listed names is in the data\. Here an image is called 'faces/"):
        open_dataset([people, make(tmp_path / "more", {"carl": 1})], exclusions=read_exclusions(listed))


def test_made_up_faces_by_path() -> None:
    dataset = open_dataset("made-up:3x2,seed=4,size=48")
    assert len(dataset) == 6
    assert dataset.image(0).shape == (48, 48, 3)
    assert len(dataset.identities) == 3
    for wrong in ("", "3", "3x2x1", "ax2", "0x2", "3x2,colour=1", "3x2,seed", "3x2,size=5000", "100000000x2"):
        with pytest.raises(UsageError, match="described wrongly"):
            open_dataset(f"made-up:{wrong}")


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such data set"):
        open_dataset(tmp_path / "none")
    with pytest.raises(UsageError, match="no data set is given"):
        open_dataset([])
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ends in '.onnx' is no data set"):
        open_dataset(tmp_path / "model.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        open_dataset(tmp_path / "empty")
    (tmp_path / "two").mkdir()
    for name in ("a.rec", "b.rec"):
        (tmp_path / "two" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"holds 2 .rec files"):
        open_dataset(tmp_path / "two")


def test_every_kind_goes_through_pickle(people: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.txt").write_text("faces/anna/0.png\nfaces/bob/1.png\n")
    kinds = [people, [people, tmp_path / "faces.txt"], tmp_path / "faces.txt", "made-up:2x2,size=32"]
    for kind in kinds:
        dataset = open_dataset(kind)
        copy = pickle.loads(pickle.dumps(dataset))
        assert keys(copy) == keys(dataset)
        assert np.array_equal(copy.image(1), dataset.image(1))
        assert copy.fingerprint == dataset.fingerprint
