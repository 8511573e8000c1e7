from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.data.folder import FolderDataset
from facedistill.data.records.dataset import RecDataset
from facedistill.data.records.writer import write_rec
from facedistill.errors import DataError, UsageError

from .rec_files import MAGIC, insightface, payload, png, record, write


class Images:
    """Given bytes as a `FaceDataset`."""

    fingerprint = "none"

    def __init__(self, encoded: list[bytes], labels: list[int], identities: list[str], keys: list[str]) -> None:
        self.stored = encoded
        self.labels: npt.NDArray[np.int64] = np.array(labels, dtype=np.int64)
        self.identities = identities
        self.keys = keys

    def __len__(self) -> int:
        return len(self.stored)

    def encoded(self, index: int) -> bytes:
        if self.stored[index] == b"unreadable":
            raise DataError("unreadable")
        return self.stored[index]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        image = cv2.imdecode(np.frombuffer(self.encoded(index), dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DataError("no picture")
        return np.asarray(image, dtype=np.uint8)

    def key(self, index: int) -> str:
        return self.keys[index]


def some_images() -> Images:
    return Images(
        [png(1), b"a" * 3 + MAGIC + b"b", png(3), MAGIC],
        [1, 0, 1, 0],
        ["Al", "B/o"],
        ["B/o/x.png", "Al/1", "elsewhere/2.jpg", "Al/a\tb.png"],
    )


def test_bytes_laid_out_by_hand(tmp_path: Path) -> None:
    """Record 0, the images of one person after the other, the identity records; every header written out."""
    write_rec(some_images(), tmp_path / "new" / "train.rec")
    payloads = [
        struct.pack("<IfQQff", 2, 0, 0, 0, 5, 7),
        struct.pack("<IfQQ", 0, 0, 1, 0) + b"aaa" + MAGIC + b"b",
        struct.pack("<IfQQ", 0, 0, 2, 0) + MAGIC,
        struct.pack("<IfQQ", 0, 1, 3, 0) + png(1),
        struct.pack("<IfQQ", 0, 1, 4, 0) + png(3),
        struct.pack("<IfQQff", 2, 0, 5, 0, 1, 3),
        struct.pack("<IfQQff", 2, 0, 6, 0, 3, 5),
    ]
    content, lines = b"", b""
    for key, one in enumerate(payloads):
        lines += b"%d\t%d\n" % (key, len(content))
        content += record(one)
    folder = tmp_path / "new"
    assert (folder / "train.rec").read_bytes() == content
    assert (folder / "train.idx").read_bytes() == lines
    assert (folder / "property").read_bytes() == b"2,4,6"  # height 4, width 6; the first two are no pictures
    assert (folder / "train.lst").read_bytes() == (
        b"1\t0\tAl/1\n2\t0\tAl/00000002.png\n3\t1\tB/o/x.png\n4\t1\tB/o/00000004.jpg\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["property", "train.idx", "train.lst", "train.rec"]


def test_a_round_trip_restores_bytes_keys_and_names(tmp_path: Path, faces: Path) -> None:
    folder = FolderDataset(faces)
    seen: list[tuple[int, int]] = []
    write_rec(folder, tmp_path / "faces.rec", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, len(folder)) for done in range(1, len(folder) + 1)]
    notes: list[str] = []
    dataset = RecDataset(tmp_path / "faces.rec", note=notes.append)
    assert notes == []
    assert dataset.identities == folder.identities
    assert dataset.labels.tolist() == folder.labels.tolist()
    for index in range(len(folder)):
        assert dataset.encoded(index) == folder.encoded(index)
        assert dataset.key(index) == folder.key(index)
    np.testing.assert_array_equal(dataset.image(7), folder.image(7))
    write_rec(dataset, tmp_path / "again.rec")
    for suffix in (".rec", ".idx", ".lst"):
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"faces{suffix}").read_bytes()


def test_what_is_written_reads_without_its_companions(tmp_path: Path) -> None:
    write_rec(some_images(), tmp_path / "a.rec")
    for name in ("a.idx", "a.lst", "property"):
        (tmp_path / name).unlink()
    dataset = RecDataset(tmp_path / "a.rec")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert [dataset.encoded(index) for index in range(4)] == [b"aaa" + MAGIC + b"b", MAGIC, png(1), png(3)]
    assert dataset.identities == ["0", "1"]


def test_an_identity_without_images_keeps_its_number(tmp_path: Path) -> None:
    write_rec(Images([png(1), png(2)], [0, 2], ["a", "b", "c", "d"], ["a/1.png", "c/2.png"]), tmp_path / "a.rec")
    dataset = RecDataset(tmp_path / "a.rec")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.identities == ["a", "c"]
    assert dataset.encoded(1) == png(2)


def test_class_numbers_are_names_that_come_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([1, 2], classes=[3, 7]))
    write_rec(RecDataset(path), tmp_path / "b.rec")
    dataset = RecDataset(tmp_path / "b.rec")
    assert dataset.identities == ["3", "7"]
    assert dataset.key(2) == "7/00000003"


def test_a_plain_file_becomes_one_with_identities(tmp_path: Path) -> None:
    payloads = {key: payload(key, label, png(key)) for key, label in enumerate([1, 0, 1])}
    write_rec(RecDataset(write(tmp_path / "a.rec", payloads)), tmp_path / "b.rec")
    dataset = RecDataset(tmp_path / "b.rec")
    assert dataset.labels.tolist() == [0, 1, 1]
    assert [dataset.encoded(index) for index in range(3)] == [png(1), png(0), png(2)]


def test_a_failure_leaves_the_old_files(tmp_path: Path) -> None:
    write_rec(some_images(), tmp_path / "a.rec")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    bad = some_images()
    bad.stored[2] = b"unreadable"
    with pytest.raises(DataError, match="unreadable"):
        write_rec(bad, tmp_path / "a.rec")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_rec(Images([png(1)], [0], ["a"], ["a/1.png"]), tmp_path / "a.rec")
    assert len(RecDataset(tmp_path / "a.rec")) == 1


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"end in \.rec"):
        write_rec(some_images(), tmp_path / "a.bin")
    with pytest.raises(DataError, match="no images"):
        write_rec(Images([], [], [], []), tmp_path / "a.rec")
    with pytest.raises(DataError, match=r"the only image cannot be decoded; a/1\.png: no picture\. Copy"):
        write_rec(Images([b"x"], [0], ["a"], ["a/1.png"]), tmp_path / "a.rec")
    with pytest.raises(DataError, match=r"b/1\.png: the image is empty \(0 bytes\)"):
        write_rec(Images([png(1), b""], [0, 1], ["a", "b"], ["a/1.png", "b/1.png"]), tmp_path / "a.rec")
    for name in ("..", "/etc", "a\tb", "a\nb", "", "a//b"):
        with pytest.raises(DataError, match="cannot hold the identity's name"):
            write_rec(Images([png(1)], [0], [name], ["a/1.png"]), tmp_path / "a.rec")
    assert list(tmp_path.iterdir()) == []
