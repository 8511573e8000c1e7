from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.conversion.folder_writer import write_image_folder
from facedistill.data.conversion.names import LONGEST_PART, SafeNames, safe_part
from facedistill.data.folder import FolderDataset
from facedistill.data.image_header import image_suffix
from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.errors import DataError

PIXELS = (np.arange(64 * 64 * 3) % 251).astype(np.uint8).reshape(64, 64, 3)


class Memory:
    """A data set that holds what it is given: (identity, key, bytes or the error that reading it raises)."""

    fingerprint = "f" * 64

    def __init__(self, *images: tuple[str, str, bytes | DataError]) -> None:
        self.images = images
        self.identities = sorted({identity for identity, _, _ in images})
        self.labels = np.array([self.identities.index(identity) for identity, _, _ in images], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        return self.images[index][1]

    def encoded(self, index: int) -> bytes:
        content = self.images[index][2]
        if isinstance(content, DataError):
            raise content
        return content

    def image(self, index: int) -> np.ndarray:
        raise NotImplementedError


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_names_and_bytes_stay_as_they_are(tmp_path: Path) -> None:
    images = [
        ("Ann", "Ann/1.JPG", b"one"),
        ("Ann", "Ann/Jos\u00e9 (2).jpeg", b"two"),
        ("group/Bo", "group/Bo/x.y.png", b"three"),
    ]
    seen: list[tuple[int, int]] = []
    paths = write_image_folder(Memory(*images), tmp_path / "out", progress=lambda *done: seen.append(done))
    assert paths == [key for _, key, _ in images]
    assert tree(tmp_path / "out") == {key: content for _, key, content in images}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    written = FolderDataset(tmp_path / "out")
    assert written.identities == ["Ann", "group/Bo"]


def test_the_identity_is_the_folder_whatever_the_key_says(tmp_path: Path) -> None:
    paths = write_image_folder(
        Memory(("Ann", "lfw.bin[3]", b"\xff\xd8x"), ("Bo", "train/0/7.png", b"b"), ("Ann", "Bo/7.png", b"c")), tmp_path
    )
    assert paths == ["Ann/lfw.bin[3].jpg", "Bo/7.png", "Ann/7.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".jp2", ".gif"])
def test_a_suffix_by_content(suffix: str) -> None:
    assert image_suffix(cv2.imencode(suffix, PIXELS)[1].tobytes()) == suffix


def test_a_suffix_of_an_unknown_kind_is_still_found_by_readers(tmp_path: Path) -> None:
    write_image_folder(Memory(("Ann", "0001", b"?"), ("Ann", "Dr. No_0001", b"!")), tmp_path)
    assert sorted(tree(tmp_path)) == ["Ann/0001.jpg", "Ann/Dr. No_0001.jpg"]
    assert len(FolderDataset(tmp_path)) == 2


@pytest.mark.parametrize(
    ("identity", "key", "path"),
    [
        ("..", "../../etc/passwd", "__/passwd.jpg"),
        ("/etc", "/etc/cron.d/x.jpg", "etc/x.jpg"),
        ("a/../../b", "a/../../b/x.jpg", "a/__/__/b/x.jpg"),
        ("C:\\Windows", "C:\\Windows\\x.jpg", "C__Windows/C__Windows_x.jpg"),
        ("C:", "C:/x.jpg", "C_/x.jpg"),
        ("a\0b", "a\0b/x\0.jpg", "a_b/x_.jpg"),
        ("", "x.jpg", "_/x.jpg"),
        (".", "./x.jpg", "_/x.jpg"),
        ("CON", "CON/nul.jpg", "_CON/_nul.jpg"),
        ("com1.x", "com1.x/console.jpg", "_com1.x/console.jpg"),
        (".hidden", ".hidden/.x.jpg", "_hidden/_x.jpg"),
        ("dot. ", "dot. /x.jpg", "dot__/x.jpg"),
        ("a//b", "a//b/x.jpg", "a/b/x.jpg"),
        ("Ann", "Ann/", "Ann/_.jpg"),
        ("Ann", "Ann/a\x1b[2J.png", "Ann/a_[2J.png"),
        ("Ann", "Ann/x\ud800.png", "Ann/x_.png"),
    ],
)
def test_names_that_would_lead_elsewhere(tmp_path: Path, identity: str, key: str, path: str) -> None:
    folder = tmp_path / "deep" / "er" / "out"
    assert write_image_folder(Memory((identity, key, b"x")), folder) == [path]
    assert sorted(tree(tmp_path)) == [f"deep/er/out/{path}"]


def test_names_that_differ_in_case_or_accent_only_are_told_apart(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9.png", unicodedata.normalize("NFD", "\u00e9.png")
    images = [
        ("ann", "ann/a.png"), ("ann", "ann/A.png"), ("ann", "ann/a.PNG"), ("ann", "x/a.png"),
        ("Ann", "Ann/a.png"), ("ann", f"ann/{composed}"), ("ann", f"ann/{decomposed}"), ("a:n", "a.png"),
        ("a|n", "a.png"),
    ]  # fmt: skip
    paths = write_image_folder(Memory(*[(*image, bytes([number])) for number, image in enumerate(images)]), tmp_path)
    assert paths[:5] == ["ann/a.png", "ann/A~2.png", "ann/a~2.PNG".replace("~2", "~3"), "ann/a~4.png", "Ann~2/a.png"]
    assert paths[5:] == [f"ann/{composed}", f"ann/{decomposed.removesuffix('.png')}~2.png", "a_n/a.png", "a_n~2/a.png"]
    assert len({path.casefold() for path in paths}) == len(images)
    assert [tree(tmp_path)[path] for path in paths] == [bytes([number]) for number in range(len(images))]


def test_an_identity_called_like_another_ones_image(tmp_path: Path) -> None:
    images = [
        ("a", "a/b.jpg", b"1"),
        ("a/b.jpg", "a/b.jpg/c.jpg", b"2"),
        ("a//b", "x.jpg", b"3"),
        ("a/b", "x.jpg", b"4"),
    ]
    paths = write_image_folder(Memory(*images), tmp_path)
    assert paths == ["a/b.jpg", "a/b~2.jpg/c.jpg", "a/b/x.jpg", "a/b~2/x.jpg"]
    assert FolderDataset(tmp_path).identities == ["a", "a/b", "a/b~2", "a/b~2.jpg"]


def test_long_names(tmp_path: Path) -> None:
    long = "\u00fc" * 300
    images = [(long, f"{long}/{long}1.png", b"1"), (long, f"{long}/{long}2.png", b"2"), ("d/" * 900, "x.png", b"3")]
    paths = write_image_folder(Memory(*images), tmp_path)
    assert len(set(paths)) == 3
    for path in paths:
        assert path.endswith(".png")
        assert all(len(os.fsencode(part)) <= LONGEST_PART for part in path.split("/"))
        assert path.count("/") == 1


def test_many_images_of_one_name_take_no_time() -> None:
    names = SafeNames()
    assert len({names.file("0", "x.jpg", b"") for _ in range(20_000)}) == 20_000


NASTY = st.text(st.sampled_from("aA./\\:\0 ~2\u00e9\ud800"), max_size=6)


@given(st.lists(st.tuples(NASTY, NASTY), max_size=12))
def test_any_names_become_distinct_paths_below_the_folder(images: list[tuple[str, str]]) -> None:
    names = SafeNames()
    paths = [names.file(identity, key, b"") for identity, key in images]
    folded = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    assert len(set(folded)) == len(folded)
    folders: dict[str, str] = {}
    for (identity, _), path in zip(images, paths, strict=True):
        parts = path.split("/")
        assert len(parts) >= 2
        assert not any(part in ("", ".", "..") or part.startswith(".") or set(part) & set("\\:\0") for part in parts)
        os.fsencode(path)
        assert PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES, "a reader would not see it"
        assert folders.setdefault(names.folder(identity).casefold(), identity) == identity
        assert path.rpartition("/")[0] == names.folder(identity)
    # A file is never a folder on another one's way.
    assert not any(other.startswith(f"{path}/") for path in folded for other in folded)


@given(st.text(min_size=1, max_size=12))
def test_a_safe_part_stays(name: str) -> None:
    assert safe_part(safe_part(name)) == safe_part(name)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "1.jpg").write_bytes(b"old")
    with pytest.raises(DataError, match=r"1\.jpg: the image cannot be written \(File exists\)"):
        write_image_folder(Memory(("Ann", "Ann/1.jpg", b"new")), tmp_path)
    assert (tmp_path / "Ann" / "1.jpg").read_bytes() == b"old"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out" / "Ann").mkdir(parents=True)
    (tmp_path / "out" / "Ann" / "1.jpg").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="cannot be written"):
        write_image_folder(Memory(("Ann", "Ann/1.jpg", b"new")), tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bad sector"):
        write_image_folder(Memory(("Ann", "Ann/1.jpg", DataError("bad sector"))), tmp_path)
    with pytest.raises(DataError, match=r"Ann/1\.jpg: the image is empty \(0 bytes\)"):
        write_image_folder(Memory(("Ann", "Ann/1.jpg", b"")), tmp_path)
