from __future__ import annotations

import csv
import errno
import json
import os
import pickle
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.data.conversion.convert import Conversion, convert
from facedistill.data.conversion.target import MARKER, check_target, choose_target
from facedistill.data.dataset import FaceDataset
from facedistill.data.folder import FolderDataset
from facedistill.data.open_dataset import open_dataset
from facedistill.data.subset import Subset
from facedistill.data.verification_bin import read_bin, write_bin
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.pair_list import load_pair_list

FORMATS = ("folder", "rec", "shards")


def picture(value: int, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, np.full((8, 8, 3), value, dtype=np.uint8))[1].tobytes()


TREE = {
    "Ann/Ann_0001.png": picture(1),
    "Ann/Ann_0002.jpg": picture(2, ".jpg"),
    "Ann/v1.2 (copy).jpg": picture(3, ".jpg"),
    "Bo B/Bo_0001.webp": picture(4, ".webp"),
    "Bo B/Bo_0002.bmp": picture(5, ".bmp"),
    "Cy/Jos\u00e9.jpeg": b"\xff\xd8 no real picture: \xce\xd7\x23\x0a and its magic number" + picture(6, ".jpg"),
    "Cy/odd.JPG": picture(7, ".jpg") + b"\n",
    "Di/only.png": picture(8),
}  # fmt: skip


@pytest.fixture
def faces_folder(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "faces", TREE)


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def place(tmp_path: Path, name: str, form: str) -> Path:
    return tmp_path / (f"{name}/set.rec" if form == "rec" else name)


def to(form: str, source: Path, out: Path, **settings: object) -> Conversion:
    return convert(open_dataset(source), choose_target(out, form), **settings)  # type: ignore[arg-type]


def contents(dataset: FaceDataset) -> dict[str, tuple[str, bytes]]:
    """Key -> the identity's name and the image's bytes."""
    return {
        dataset.key(index): (dataset.identities[dataset.labels[index]], dataset.encoded(index))
        for index in range(len(dataset))
    }


@pytest.mark.parametrize(("first", "second"), list(product(FORMATS, FORMATS)))
def test_there_and_back_through_every_pair_of_formats(
    tmp_path: Path, faces_folder: Path, first: str, second: str
) -> None:
    one, two = place(tmp_path, "one", first), place(tmp_path, "two", second)
    to(first, faces_folder, one)
    result = to(second, one, two)
    assert (result.images, result.identities, result.skipped, result.renamed) == (8, 4, (), ())
    assert contents(open_dataset(two)) == contents(open_dataset(faces_folder))
    to("folder", two, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(faces_folder)


@pytest.mark.parametrize("form", FORMATS)
def test_a_pair_set_out_of_every_format(tmp_path: Path, faces_folder: Path, form: str) -> None:
    source, pairs = place(tmp_path, "source", form), tmp_path / "pairs.csv"
    to(form, faces_folder, source)
    wanted = [("Ann/Ann_0001.png", "Ann/Ann_0002.jpg"), ("Cy/odd.JPG", "Di/only.png")] * 10
    rows = [f"{first},{second},{int(first[0] == second[0])}" for first, second in wanted]
    pairs.write_text("\n".join(["path_a,path_b,same", *rows]))
    dataset = open_dataset(source)
    result = convert(dataset, choose_target(tmp_path / "set.bin"), pairs=load_pair_list(pairs, dataset))
    assert (result.images, result.pairs, result.identities, result.notes) == (40, 20, None, ())
    images, flags = pickle.loads((tmp_path / "set.bin").read_bytes())
    assert images == [tree(faces_folder)[name] for pair in wanted for name in pair]
    assert flags == [True, False] * 10
    assert names(tmp_path) == sorted({"faces", "pairs.csv", "set.bin", source.relative_to(tmp_path).parts[0]})


@pytest.fixture
def pair_set(tmp_path: Path) -> Path:
    """20 pairs of 13 pictures, of which those of one person are in several."""
    pictures = [picture(10 * number, (".png", ".jpg")[number % 2]) for number in range(13)]
    encoded, same = [], []
    for pair in range(20):
        genuine = pair % 2 == 0
        encoded += [pictures[pair % 3], pictures[(pair + 1) % 3 if genuine else 3 + pair % 10]]
        same.append(genuine)
    write_bin(tmp_path / "set.bin", encoded, same)
    return tmp_path / "set.bin"


def test_a_pair_set_becomes_a_folder_with_its_pairs(tmp_path: Path, pair_set: Path) -> None:
    result = to("folder", pair_set, tmp_path / "out")
    original = read_bin(pair_set)
    assert (result.images, result.pairs, result.notes) == (8, 20, ()), "each picture once"
    files = tree(tmp_path / "out")
    with (tmp_path / "out" / "pairs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [files[row["path_a"]] for row in rows] == [original.encoded(index) for index in range(0, 40, 2)]
    assert [files[row["path_b"]] for row in rows] == [original.encoded(index) for index in range(1, 40, 2)]
    assert [row["same"] == "1" for row in rows] == original.same.tolist()
    assert [int(row["fold"]) for row in rows] == [pair // 2 for pair in range(20)]
    assert len(FolderDataset(tmp_path / "out").identities) == len(original.identities)


def test_a_pair_set_comes_back_from_its_folder(tmp_path: Path, pair_set: Path) -> None:
    to("folder", pair_set, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    pairs = load_pair_list(tmp_path / "out" / "pairs.csv", dataset)
    result = convert(dataset, choose_target(tmp_path / "back.bin"), pairs=pairs)
    assert result.notes == ()
    assert (tmp_path / "back.bin").read_bytes() == pair_set.read_bytes()


def test_folds_that_a_pair_set_cannot_have_are_left_out(tmp_path: Path) -> None:
    write_bin(tmp_path / "sorted.bin", [picture(number) for number in range(40)], [True] * 10 + [False] * 10)
    to("folder", tmp_path / "sorted.bin", tmp_path / "out")
    assert (tmp_path / "out" / "pairs.csv").read_text().splitlines()[0] == "path_a,path_b,same"


@pytest.mark.parametrize("form", ["rec", "shards"])
def test_pairs_that_are_lost_are_said(tmp_path: Path, pair_set: Path, form: str) -> None:
    result = to(form, pair_set, place(tmp_path, "out", form))
    assert result.images == 40
    assert f"the pairs are not kept in {form}" in result.notes[0]
    written = open_dataset(place(tmp_path, "out", form))
    original = read_bin(pair_set)
    assert sorted(written.encoded(i) for i in range(40)) == sorted(original.encoded(i) for i in range(40))


def test_a_pair_set_copied(tmp_path: Path, pair_set: Path) -> None:
    assert to("bin", pair_set, tmp_path / "copy.bin").pairs == 20
    assert (tmp_path / "copy.bin").read_bytes() == pair_set.read_bytes()


def test_folds_of_a_list_that_are_not_those_of_a_pair_set_are_said(tmp_path: Path, faces_folder: Path) -> None:
    dataset = open_dataset(faces_folder)
    rows = [f"Ann/Ann_0001.png,{other},{same},{fold}" for fold in "ab" for other, same in [
        ("Ann/Ann_0002.jpg", 1), ("Di/only.png", 0), ("Cy/odd.JPG", 0)]]  # fmt: skip
    (tmp_path / "pairs.csv").write_text("\n".join(["path_a,path_b,same,fold", *rows]))
    pairs = load_pair_list(tmp_path / "pairs.csv", dataset)
    assert "not as in the list" in convert(dataset, choose_target(tmp_path / "set.bin"), pairs=pairs).notes[0]


def test_a_pair_set_needs_pairs_and_nothing_else_takes_them(tmp_path: Path, faces_folder: Path, pair_set: Path) -> None:
    with pytest.raises(UsageError, match=r"holds pairs, and none are given\. Add --pairs LIST"):
        to("bin", faces_folder, tmp_path / "new.bin")
    part = Subset(read_bin(pair_set), np.arange(6))
    with pytest.raises(UsageError, match="holds pairs, and none are given"):
        convert(part, choose_target(tmp_path / "new.bin"))
    dataset = open_dataset(pair_set)
    to("folder", pair_set, tmp_path / "out")
    pairs = load_pair_list(tmp_path / "out" / "pairs.csv", tmp_path / "out")
    with pytest.raises(UsageError, match=r"a pair list goes into a \.bin file, not into a folder"):
        convert(dataset, choose_target(tmp_path / "other"), pairs=pairs)


class Broken:
    """A data set some of whose images cannot be read."""

    def __init__(self, whole: FaceDataset, *unreadable: str) -> None:
        self.whole, self.unreadable = whole, unreadable
        self.labels, self.identities, self.fingerprint = whole.labels, whole.identities, whole.fingerprint
        self.key, self.image = whole.key, whole.image

    def __len__(self) -> int:
        return len(self.whole)

    def encoded(self, index: int) -> bytes:
        if self.key(index) in self.unreadable:
            raise DataError("bad sector", place=self.key(index))
        return self.whole.encoded(index)


@pytest.mark.parametrize("form", FORMATS)
def test_images_that_cannot_be_read_are_left_out(tmp_path: Path, faces_folder: Path, form: str) -> None:
    broken = Broken(FolderDataset(faces_folder), "Ann/Ann_0002.jpg", "Di/only.png")
    target = choose_target(place(tmp_path, "out", form), form)
    result = convert(broken, target)
    assert result.skipped == (("Ann/Ann_0002.jpg", "bad sector"), ("Di/only.png", "bad sector"))
    assert (result.images, result.identities) == (6, 3)
    kept = {key: value for key, value in contents(FolderDataset(faces_folder)).items() if key not in broken.unreadable}
    assert contents(open_dataset(target.path)) == kept
    with pytest.raises(DataError, match="bad sector"):
        convert(broken, target, strict=True, overwrite=True)
    assert contents(open_dataset(target.path)) == kept, "the earlier result is still whole"


def test_pairs_of_images_that_cannot_be_read_are_left_out(tmp_path: Path, faces_folder: Path) -> None:
    broken = Broken(FolderDataset(faces_folder), "Ann/Ann_0002.jpg")
    a, b, c, d = "Ann/Ann_0001.png", "Ann/Ann_0002.jpg", "Di/only.png", "Ann/v1.2 (copy).jpg"
    (tmp_path / "pairs.csv").write_text(f"path_a,path_b,same\n{a},{b},1\n{a},{c},0\n{a},{d},1\n{c},{d},0\n")
    pairs = load_pair_list(tmp_path / "pairs.csv", broken)
    result = convert(broken, choose_target(tmp_path / "set.bin"), pairs=pairs)
    assert (result.pairs, result.skipped) == (3, ((b, "bad sector"),))
    assert result.notes == ("1 pair is left out with its images",)
    assert read_bin(tmp_path / "set.bin").same.tolist() == [False, True, False]
    with pytest.raises(DataError, match="bad sector"):
        convert(broken, choose_target(tmp_path / "strict.bin"), pairs=pairs, strict=True)


def test_corrupt_images_are_copied_unless_checked(tmp_path: Path, faces_folder: Path) -> None:
    (faces_folder / "Ann" / "Ann_0002.jpg").write_bytes(b"\xff\xd8 nothing")
    seen: list[tuple[int, int]] = []
    assert to("folder", faces_folder, tmp_path / "all").images == 8
    result = to("folder", faces_folder, tmp_path / "whole", check=True, progress=lambda *done: seen.append(done))
    assert [key for key, _ in result.skipped] == ["Ann/Ann_0002.jpg", "Cy/Jos\u00e9.jpeg"]
    assert "truncated" in result.skipped[0][1]
    assert seen[0] == (1, 16)
    assert seen[-1][0] == seen[-1][1]
    assert len(tree(tmp_path / "all")) == 8
    assert len(tree(tmp_path / "whole")) == 6
    with pytest.raises(DataError, match="truncated"):
        to("folder", faces_folder, tmp_path / "strict", check=True, strict=True)


def test_nothing_that_can_be_read(tmp_path: Path, faces_folder: Path) -> None:
    broken = Broken(FolderDataset(faces_folder), *contents(FolderDataset(faces_folder)))
    with pytest.raises(DataError) as caught:
        convert(broken, choose_target(tmp_path / "out"))
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: none of the 8 images can be read; Ann/Ann_0001.png: bad sector. "
        "Copy the data set again if its files are damaged; facedistill inspect looks at each of them"
    )
    assert names(tmp_path) == ["faces"]


def test_nothing_that_can_be_decoded(tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", {"Ann/1.jpg": b"text"})
    for form, settings in (("folder", {"check": True}), ("rec", {})):
        with pytest.raises(DataError) as caught:
            to(form, tmp_path / "faces", place(tmp_path, "out", form), **settings)
        what = "read and decoded" if form == "folder" else "decoded"
        assert f"the only image cannot be {what}; Ann/1.jpg: the image is corrupt" in caught.value.cause
        assert caught.value.place == str(place(tmp_path, "out", form))
        assert caught.value.next_step
    assert names(tmp_path) == ["faces"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("check", [False, True])
def test_empty_images_are_left_out(tmp_path: Path, faces_folder: Path, form: str, check: bool) -> None:
    kept = contents(open_dataset(faces_folder))
    write_tree(faces_folder, {"Ann/Ann_0003.jpg": b"", "Ed/0.png": b""})
    target = choose_target(place(tmp_path, "out", form), form)
    result = to(form, faces_folder, target.path, check=check)
    reason = "the image is empty (0 bytes)"
    assert {("Ann/Ann_0003.jpg", reason), ("Ed/0.png", reason)} <= set(result.skipped)
    written = contents(open_dataset(target.path))
    assert result.images == len(written)
    assert written == {key: kept[key] for key in written}
    assert check or len(written) == 8
    with pytest.raises(DataError, match=r"Ann_0003\.jpg: the image is empty \(0 bytes\)"):
        to(form, faces_folder, target.path, check=check, strict=True, overwrite=True)


def test_empty_images_and_their_pairs_are_left_out_of_pair_sets(tmp_path: Path) -> None:
    write_bin(tmp_path / "old.bin", [picture(1), b"", picture(2), picture(3), b"", b""], [True, False, True])
    result = to("bin", tmp_path / "old.bin", tmp_path / "new.bin")
    assert (result.images, result.pairs, len(result.skipped)) == (2, 1, 3)
    assert pickle.loads((tmp_path / "new.bin").read_bytes()) == ([picture(2), picture(3)], [False])
    result = to("folder", tmp_path / "old.bin", tmp_path / "out")
    assert (result.images, result.pairs, len(result.skipped)) == (3, 1, 1)
    assert result.notes == ("2 pairs are left out with their images",)
    with pytest.raises(DataError, match="is empty"):
        to("bin", tmp_path / "old.bin", tmp_path / "strict.bin", strict=True)
    write_bin(tmp_path / "none.bin", [picture(1), b""], [True])
    with pytest.raises(DataError, match=r"no pair has two images that can be read; .*: the image is empty.*\. Copy"):
        to("bin", tmp_path / "none.bin", tmp_path / "new2.bin")


@pytest.mark.parametrize("form", [*FORMATS, "bin"])
def test_an_earlier_result_is_replaced_only_when_asked(
    tmp_path: Path, faces_folder: Path, pair_set: Path, form: str
) -> None:
    out = tmp_path / "out.bin" if form == "bin" else place(tmp_path, "out", form)
    source = pair_set if form == "bin" else faces_folder
    to(form, source, out)
    with pytest.raises(UsageError, match=r"exists|earlier result"):
        to(form, source, out)
    before = names(tmp_path)
    if form != "bin":
        (faces_folder / "Di" / "only.png").unlink()
        assert to(form, source, out, overwrite=True).images == 7
        assert len(open_dataset(out)) == 7
    else:
        assert to(form, source, out, overwrite=True).images == 40
    assert names(tmp_path) == before, "nothing is left lying about"


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path, faces_folder: Path) -> None:
    out = write_tree(tmp_path / "out", {"thesis.txt": b"years of work"})
    for form in ("folder", "shards"):
        with pytest.raises(UsageError, match="is not empty, and it was not written by facedistill convert"):
            to(form, faces_folder, out, overwrite=True)
    assert tree(out) == {"thesis.txt": b"years of work"}
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="a file or a link of that name"):
            to("folder", faces_folder, tmp_path / name, overwrite=True)
    (tmp_path / "empty").mkdir()
    assert to("folder", faces_folder, tmp_path / "empty").images == 8


@pytest.mark.parametrize("form", ["folder", "shards"])
def test_a_folder_that_was_added_to_is_not_replaced(tmp_path: Path, faces_folder: Path, form: str) -> None:
    to(form, faces_folder, tmp_path / "out")
    to(form, faces_folder, tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for marker in (None, "no JSON", "{}"):
        if marker is not None:
            (tmp_path / "out" / MARKER).write_text(marker)
        with pytest.raises(UsageError, match="files were added to the folder since it was written"):
            to(form, faces_folder, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_rec_does_not_take_the_property_file_of_another(tmp_path: Path, faces_folder: Path) -> None:
    write_tree(tmp_path / "ms1m", {"train.rec": b"", "property": b"85742,112,112"})
    with pytest.raises(UsageError, match="property: the file exists"):
        to("rec", faces_folder, tmp_path / "ms1m" / "val.rec")
    with pytest.raises(UsageError, match=r"holds train\.rec, and two data sets cannot share its file 'property'"):
        to("rec", faces_folder, tmp_path / "ms1m" / "val.rec", overwrite=True)
    assert tree(tmp_path / "ms1m") == {"train.rec": b"", "property": b"85742,112,112"}


@pytest.mark.parametrize(
    ("source", "out", "form"),
    [
        ("faces", "faces", "folder"),
        ("faces", "faces/part", "folder"),
        ("faces/Ann", "faces", "shards"),
        ("faces", "faces/train.rec", "rec"),
        ("set.bin", "set.bin", "bin"),
        ("faces/../faces", "faces/x/y", "folder"),
    ],
)
def test_a_result_within_its_source(
    tmp_path: Path, faces_folder: Path, pair_set: Path, source: str, out: str, form: str
) -> None:
    with pytest.raises(UsageError, match="lie within one another"):
        check_target(choose_target(tmp_path / out, form), overwrite=True, sources=[str(tmp_path / source)])
    check_target(choose_target(faces_folder / "new.bin"), overwrite=False, sources=[str(faces_folder), "made-up:2x2"])


@pytest.mark.parametrize(
    ("out", "form", "path", "kind"),
    [
        ("faces", None, "faces", "folder"),
        ("ms1m.v2", None, "ms1m.v2", "folder"),
        ("out/train.rec", None, "out/train.rec", "rec"),
        ("lfw.bin", None, "lfw.bin", "bin"),
        ("faces", "shards", "faces", "shards"),
        ("faces", "rec", "faces/train.rec", "rec"),
        ("faces.rec", "folder", "faces.rec", "folder"),
    ],
)
def test_the_format_by_the_name(out: str, form: str | None, path: str, kind: str) -> None:
    target = choose_target(Path(out), form)
    assert (target.path, target.format) == (Path(path), kind)


def test_names_that_are_no_target() -> None:
    with pytest.raises(UsageError, match=r"ends in '\.tar' is no folder of images.*--to shards"):
        choose_target(Path("faces.tar"))
    with pytest.raises(UsageError, match=r"a verification set ends in \.bin"):
        choose_target(Path("faces"), "bin")
    with pytest.raises(UsageError, match=r"there is no format called 'shard'\. Did you mean 'shards'"):
        choose_target(Path("faces"), "shard")


@pytest.mark.parametrize("form", [*FORMATS, "bin"])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, faces_folder: Path, pair_set: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pair_set if form == "bin" else faces_folder
    out = tmp_path / "out.bin" if form == "bin" else place(tmp_path, "out", form)
    to(form, source, out)
    before = contents(open_dataset(out))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    module = {
        "folder": "facedistill.data.conversion.convert.write_image_folder",
        "bin": "facedistill.data.conversion.convert.write_bin",
        "rec": "facedistill.data.records.writer.write_rec",
        "shards": "facedistill.data.shards.writer.write_shards",
    }[form]
    monkeypatch.setattr(module, full)
    with pytest.raises(DataError, match=r"it cannot be written \(No space left on device\)\. Free some space"):
        to(form, source, out, overwrite=True)
    assert contents(open_dataset(out)) == before
    assert not [name for name in names(out.parent) if "partial" in name]


def test_a_disk_that_fills_up_while_images_are_written(
    tmp_path: Path, faces_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.open

    def full(self: Path, mode: str = "r", **settings: object) -> object:
        if mode == "xb" and self.name == "only.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, mode, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError) as caught:
        to("folder", faces_folder, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: it cannot be written (No space left on device). Free some space; nothing was left behind"
    )
    assert names(tmp_path) == ["faces"]


@pytest.mark.parametrize("name", ["a:b", "new\nline"])
def test_a_name_that_a_rec_cannot_hold(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path / "faces", {f"{name}/1.png": picture(1)})
    with pytest.raises(DataError, match="cannot hold the identity's name") as caught:
        to("rec", tmp_path / "faces", tmp_path / "a.rec")
    assert caught.value.place == str(tmp_path / "a.rec")
    assert "partial" not in str(caught.value)
    assert "convert to a folder first, which gives safe names" in str(caught.value.next_step)
    to("folder", tmp_path / "faces", tmp_path / "safe")
    assert to("rec", tmp_path / "safe", tmp_path / "a.rec").images == 1


@pytest.mark.parametrize("form", ["rec", "shards"])
def test_a_list_of_images_elsewhere(tmp_path: Path, form: str) -> None:
    """Such names only are read; written they become safe in a folder, and the way there is told."""
    write_tree(tmp_path, {"f/x.png": picture(1), "lists/list.txt": b"../f/x.png\n"})
    with pytest.raises(DataError) as caught:
        to(form, tmp_path / "lists" / "list.txt", place(tmp_path, "out", form))
    assert caught.value.place == str(place(tmp_path, "out", form))
    assert "onvert to a folder first, which gives" in str(caught.value.next_step)
    assert names(tmp_path) == ["f", "lists"]
    result = to("folder", tmp_path / "lists" / "list.txt", tmp_path / "safe")
    assert tree(tmp_path / "safe") == {"__/f/x.png": picture(1)}
    assert result.renamed == (("../f/x.png", "__/f/x.png"),)
    assert to(form, tmp_path / "safe", place(tmp_path, "out", form)).images == 1


def test_an_interruption_leaves_nothing(tmp_path: Path, faces_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to("folder", faces_folder, tmp_path / "out", progress=interrupted)
    assert names(tmp_path) == ["faces"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path, faces_folder: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(DataError, match="it cannot be written"):
        to("folder", faces_folder, tmp_path / "locked" / "out")


def test_a_place_below_a_file(tmp_path: Path, faces_folder: Path) -> None:
    with pytest.raises(DataError, match="it cannot be written"):
        to("folder", faces_folder, faces_folder / "Ann" / "Ann_0001.png" / "out")


def test_names_from_strangers_stay_below_the_folder(tmp_path: Path) -> None:
    write_tree(tmp_path / "src", {"x.png": picture(1), "y.png": picture(2)})
    source = tmp_path / "src" / "list.txt"
    source.write_text("x.png\t../../gone\n./y.png\tAnn\n")
    result = to("folder", source, tmp_path / "out")
    assert tree(tmp_path / "out") == {"__/__/gone/x.png": picture(1), "Ann/y.png": picture(2)}
    assert result.renamed == (("x.png", "__/__/gone/x.png"),)
    assert json.dumps(result.to_dict())
    assert names(tmp_path) == ["out", "src"]


@pytest.mark.realdata
def test_lfw_there_and_back(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "data" / "lfw" / "aligned"
    people = sorted(path.name for path in folder.iterdir())[:80]
    part = open_dataset(folder, identities=people)
    convert(part, choose_target(tmp_path / "lfw.rec"))
    to("shards", tmp_path / "lfw.rec", tmp_path / "shards")
    to("folder", tmp_path / "shards", tmp_path / "back")
    assert tree(tmp_path / "back") == {part.key(index): part.encoded(index) for index in range(len(part))}
