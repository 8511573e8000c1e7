from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.records.writer import write_rec
from facedistill.data.shards.writer import write_shards
from facedistill.data.synthetic import SyntheticFaces
from facedistill.data.verification_bin import write_bin
from facedistill.errors import DataError, UsageError
from facedistill.inspection.contents import NO_IDENTITY, Contents, folder_contents, open_contents
from facedistill.inspection.inspect_dataset import inspect_dataset
from facedistill.inspection.scan import scan_images


def facts(contents: Contents) -> set[tuple[object, ...]]:
    """What is found of each image, whatever the order and the names."""
    scan = scan_images(contents)
    return {
        (scan.identities[label], int(digest), *size)
        for label, digest, size in zip(scan.labels, scan.pixel_digests, scan.sizes.tolist(), strict=True)
    }


def test_a_folder_is_taken_as_it_lies(crops: Path) -> None:
    shutil.copy(crops / "person_000000" / "0000.png", crops / "stray.png")
    contents = open_contents(crops)
    assert (contents.folder, contents.ordered, contents.place) == (crops, False, str(crops))
    assert contents.labels.tolist().count(NO_IDENTITY) == 1
    assert contents.images.key(len(contents) - 1) == "stray.png"
    assert open_contents([crops]).folder == crops


def test_the_same_people_in_every_kind_of_data_set(faces: Path, tmp_path: Path) -> None:
    dataset = FolderDataset(faces)
    (tmp_path / "rec").mkdir()
    write_rec(dataset, tmp_path / "rec" / "train.rec")
    write_shards(dataset, tmp_path / "shards")
    shutil.copytree(faces, tmp_path / "faces")
    lines = [f"faces/{dataset.key(index)}\t{dataset.identities[dataset.labels[index]]}" for index in range(48)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    expected = facts(folder_contents(faces))
    for path in ("rec/train.rec", "rec", "shards", "list.txt"):
        contents = open_contents(tmp_path / path)
        assert facts(contents) == expected, path
        assert (contents.folder, contents.ordered) == (None, True), path
        assert contents.place == str(tmp_path / path)


def test_several_roots_and_made_up_faces(faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces / "person_000003", tmp_path / "more" / "zoe")
    contents = open_contents([faces, tmp_path / "more"])
    assert (len(contents), len(contents.identities), contents.ordered) == (54, 9, False)
    assert contents.place == f"{faces}, {tmp_path / 'more'}"
    made_up = open_contents(Path("made-up:3x2,size=32"))
    assert (len(made_up), made_up.identities[0]) == (6, "person_000000")


def test_the_people_of_a_pair_set_are_in_no_order(tmp_path: Path) -> None:
    made = SyntheticFaces(2, 2, size=32)
    images = [made.encoded(index) for index in range(4)]
    write_bin(tmp_path / "x.bin", [images[0], images[2], images[0], images[1]], [False, True])
    contents = open_contents(tmp_path / "x.bin")
    assert (len(contents), contents.ordered) == (4, False)
    report = inspect_dataset(contents)
    assert report.label_order is None
    assert (report.is_folder, report.images, report.identities) == (False, 4, 2)
    assert len(report.duplicates) == 1
    assert not any("repeats" in warning for warning in report.warnings)  # an image stands in several pairs


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such data set"):
        open_contents(tmp_path / "nowhere")
    (tmp_path / "a.md").write_text("x")
    with pytest.raises(DataError, match="is no data set"):
        open_contents(tmp_path / "a.md")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no images"):
        open_contents(tmp_path / "empty")


def test_labels_out_of_order_are_told_of_a_list(faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "faces")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "faces").rglob("*.png"))
    names.append(names.pop(2))  # the third image of person 0 comes last
    (tmp_path / "list.txt").write_text("\n".join(names))
    report = inspect_dataset(open_contents(tmp_path / "list.txt"))
    assert report.label_order is not None
    assert report.label_order.scattered == 1
    (warning,) = report.warnings
    assert "the images of 1 identity do not follow one another, such as those of faces/person_000000" in warning
    names = [names[index] for index in np.random.default_rng(0).permutation(len(names))]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert inspect_dataset(open_contents(tmp_path / "list.txt")).warnings == []  # a shuffled list is no slip


def test_a_listed_file_that_is_not_there_is_no_whole_image(faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "faces")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "faces").rglob("*.png"))
    (tmp_path / names[3]).unlink()
    (tmp_path / "list.txt").write_text("\n".join(names))
    report = inspect_dataset(open_contents(tmp_path / "list.txt"))
    assert report.unreadable == ((names[3], "the image cannot be read (No such file or directory)"),)
    assert report.images == 47
