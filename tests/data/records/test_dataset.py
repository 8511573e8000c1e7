from __future__ import annotations

import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.dataset import FaceDataset
from facedistill.data.records.dataset import SAMPLE, RecDataset
from facedistill.data.records.ranges import owners
from facedistill.data.records.recordio import RecordFile
from facedistill.errors import DataError

from .rec_files import MAGIC, insightface, payload, png, write


def red(dataset: RecDataset, index: int) -> int:
    return int(dataset.image(index)[0, 0, 0])


@pytest.mark.parametrize("array", [False, True], ids=["number", "array"])
@pytest.mark.parametrize("index", [True, False], ids=["idx", "scanned"])
def test_the_layout_of_insightface(tmp_path: Path, array: bool, index: bool) -> None:
    dataset = RecDataset(write(tmp_path / "train.rec", insightface([2, 1, 3], array=array), index=index))
    assert isinstance(dataset, FaceDataset)
    assert len(dataset) == 6
    assert dataset.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert dataset.labels.dtype == np.int64
    assert dataset.identities == ["0", "1", "2"]
    assert [red(dataset, image) for image in range(6)] == [1, 2, 3, 4, 5, 6]
    assert dataset.encoded(4) == png(5)
    assert dataset.image(0).shape == (4, 6, 3)
    assert [dataset.key(image) for image in (0, 5)] == ["00000001", "00000006"]


def test_record_0_may_lie_behind_the_images(tmp_path: Path) -> None:
    """As face2rec2 writes it; without an index its key is the id in its header."""
    payloads = insightface([2, 1])
    payloads = {key: payloads[key] for key in (1, 2, 3, 0, 4, 5)}
    for index in (True, False):
        dataset = RecDataset(write(tmp_path / f"{index}.rec", payloads, index=index))
        assert dataset.labels.tolist() == [0, 0, 1]
        assert [red(dataset, image) for image in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("array", [False, True], ids=["number", "array"])
@pytest.mark.parametrize("index", [True, False], ids=["idx", "scanned"])
def test_the_plain_layout(tmp_path: Path, array: bool, index: bool) -> None:
    classes = [7, 0, 2, 7]
    payloads = {key: payload(key, [label] if array else label, png(key)) for key, label in enumerate(classes)}
    dataset = RecDataset(write(tmp_path / "plain.rec", payloads, index=index))
    assert dataset.labels.tolist() == [2, 0, 1, 2]
    assert dataset.identities == ["0", "2", "7"]
    assert [red(dataset, image) for image in range(4)] == [0, 1, 2, 3]
    assert dataset.key(3) == "00000003"


def test_a_class_and_more_labels_in_record_0_are_an_image(tmp_path: Path) -> None:
    """As in shuffled copies of insightface's files: two labels, but an image."""
    payloads = {key: payload(key, [label, 1], png(key)) for key, label in enumerate([5, 4])}
    dataset = RecDataset(write(tmp_path / "shuffled.rec", payloads))
    assert dataset.labels.tolist() == [1, 0]


def test_records_with_equal_ids_are_counted_when_scanned(tmp_path: Path) -> None:
    payloads = {key: payload(0, label, png(key)) for key, label in enumerate([1, 0, 1])}
    dataset = RecDataset(write(tmp_path / "plain.rec", payloads, index=False))
    assert [dataset.key(image) for image in range(3)] == ["00000000", "00000001", "00000002"]
    assert dataset.labels.tolist() == [1, 0, 1]


def test_the_index_in_any_order_with_windows_lines_and_blanks(tmp_path: Path) -> None:
    path = write(tmp_path / "train.rec", insightface([2, 1]))
    expected = RecDataset(path).fingerprint
    lines = path.with_suffix(".idx").read_bytes().splitlines()
    path.with_suffix(".idx").write_bytes(b"\r\n".join(reversed(lines)) + b"\r\n")
    assert RecDataset(path).fingerprint == expected
    path.with_suffix(".idx").write_bytes(b"\n \n".join(reversed(lines)))
    assert RecDataset(path).fingerprint == expected


def test_classes_with_gaps_and_out_of_order(tmp_path: Path) -> None:
    """Identity records stand for the class that their images have, two of them for one person here."""
    dataset = RecDataset(write(tmp_path / "train.rec", insightface([2, 1, 1, 2], classes=[7, 0, 2, 7])))
    assert dataset.labels.tolist() == [2, 2, 0, 1, 2, 2]
    assert dataset.identities == ["0", "2", "7"]
    assert red(dataset, 5) == 6


def test_an_image_in_no_range_or_in_two_has_the_class_of_its_header(tmp_path: Path) -> None:
    payloads = insightface([2, 2, 2])
    payloads[7] = payload(7, [1, 4])  # image 3 is in two ranges
    payloads[9] = payload(9, [6, 7])  # image 5 is in none
    payloads[8] = payload(8, [3, 5])
    dataset = RecDataset(write(tmp_path / "train.rec", payloads))
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [red(dataset, image) for image in range(6)] == [1, 2, 3, 4, 5, 6]


def test_an_identity_without_images_is_left_out(tmp_path: Path) -> None:
    dataset = RecDataset(write(tmp_path / "train.rec", insightface([1, 0, 2])))
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.identities == ["0", "2"]


def test_opening_reads_identity_records_and_a_sample_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "train.rec", insightface([1] * 150))
    offsets: set[int] = set()
    words = RecordFile.words

    def spy(records: RecordFile, places: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint32]:
        offsets.update(places.tolist())
        return words(records, places, count)

    monkeypatch.setattr(RecordFile, "words", spy)
    monkeypatch.setattr(RecordFile, "payload", None)
    assert RecDataset(path).labels.tolist() == list(range(150))
    assert len(offsets) == 1 + 150 + SAMPLE


def test_an_image_whose_header_disagrees_is_refused(tmp_path: Path) -> None:
    payloads = insightface([2, 2])
    payloads[2] = payload(2, 1, png(2))
    dataset = RecDataset(write(tmp_path / "train.rec", payloads))
    with pytest.raises(DataError, match=r"train\.rec, record 2: its header says class 1, .* of class 0"):
        dataset.image(1)
    assert red(dataset, 0) == 1


def test_an_image_that_cannot_be_decoded_names_its_record(tmp_path: Path) -> None:
    payloads = insightface([2])
    payloads[1] = payload(1, 0, b"no picture")
    payloads[2] = payload(2, 0)
    dataset = RecDataset(write(tmp_path / "train.rec", payloads))
    assert dataset.encoded(0) == b"no picture"
    with pytest.raises(DataError, match=r"train\.rec, record 1: the image is corrupt"):
        dataset.image(0)
    with pytest.raises(DataError, match=r"train\.rec, record 2: the record holds no image"):
        dataset.image(1)


def test_the_magic_number_within_images(tmp_path: Path) -> None:
    images = [b"ab" + MAGIC + b"x", MAGIC * 3, b"abc" + MAGIC, bytes(4) + MAGIC + bytes(3)]
    payloads = {key: payload(key, [key], image) for key, image in enumerate(images)}
    dataset = RecDataset(write(tmp_path / "plain.rec", payloads))
    assert [dataset.encoded(index) for index in range(4)] == images


# Ranges beyond 16,777,216: what float32 makes of the true ends is checked by numpy's own rounding.


@given(
    st.integers(2**24 - 30, 2**25 + 30),
    st.lists(st.integers(1, 4), min_size=1, max_size=20),
)
def test_owners_are_right_or_unsure_where_ends_are_rounded(first: int, counts: list[int]) -> None:
    bounds = first + np.cumsum([0, *counts])
    exact = np.stack([bounds[:-1], bounds[1:]], axis=1)
    keys = np.arange(bounds[0], bounds[-1])
    found = owners(keys, exact.astype(np.float32).astype(np.int64))
    truth = np.repeat(np.arange(len(counts)), counts)
    assert ((found == truth) | (found == -1)).all()
    if bounds[-1] < 2**24:
        assert (found == truth).all()


def test_owners_far_from_rounded_ends_are_sure() -> None:
    keys = np.arange(2**24, 2**24 + 100)
    ranges = np.array([[2**24, 2**24 + 50], [2**24 + 50, 2**24 + 100]])
    found = owners(keys, ranges)
    assert np.flatnonzero(found < 0).tolist() == [0, 49, 50, 99]
    assert found[1:49].tolist() == [0] * 48
    assert found[51:99].tolist() == [1] * 48


def test_owners_agree_with_a_slow_loop() -> None:
    generator = np.random.default_rng(0)
    keys = np.flatnonzero(generator.random(60) < 0.7) + 1
    for _ in range(50):
        ranges = np.sort(generator.integers(1, 62, (8, 2)), axis=1)
        for key, owner in zip(keys, owners(keys, ranges), strict=True):
            holders = [row for row, (low, high) in enumerate(ranges) if low <= key < high]
            assert owner == (holders[0] if len(holders) == 1 else -1)


@pytest.mark.parametrize("first_identity", [2**24 + 11, 2**24 + 12, 2**24 + 13, 2**24 + 15])
@pytest.mark.parametrize("people", [2, 3])
def test_keys_beyond_what_float32_holds(tmp_path: Path, first_identity: int, people: int) -> None:
    """A sparse index stands for Glint360K: every rounding of the ends, and still each image has its own class."""
    payloads = {}
    ranges = []
    key = first_identity - 3 * people
    for person in range(people):
        ranges.append([key, key + 3])
        for _ in range(3):
            payloads[key] = payload(key, person, png(key % 256))
            key += 1
    for ends in ranges:
        payloads[key] = payload(key, ends)
        key += 1
    payloads[0] = payload(0, [first_identity, first_identity + people])
    notes: list[str] = []
    dataset = RecDataset(write(tmp_path / "train.rec", payloads), note=notes.append)
    assert dataset.labels.tolist() == np.repeat(np.arange(people), 3).tolist()
    assert [red(dataset, index) for index in range(3 * people)] == [
        key % 256 for key in range(first_identity - 3 * people, first_identity)
    ]
    assert len(notes) == 1
    assert "are missing" in notes[0]


@pytest.mark.parametrize(
    ("label", "shown"),
    [(-1, "-1"), (0.5, "0.5"), (float("nan"), "nan"), (float("inf"), "inf"), (2.0**25, "33554432")],
)
@pytest.mark.parametrize("layout", ["plain", "insightface"])
def test_a_label_that_numbers_no_class(tmp_path: Path, label: float, shown: str, layout: str) -> None:
    payloads = insightface([1, 1]) if layout == "insightface" else {key: payload(key, 0, png(key)) for key in range(3)}
    payloads[2] = payload(2, label, png(2))
    with pytest.raises(DataError, match=rf"a\.rec, record 2: the label is {shown}"):
        RecDataset(write(tmp_path / "a.rec", payloads))


def test_a_label_in_the_middle_of_an_identity_is_found_when_read(tmp_path: Path) -> None:
    payloads = insightface([3])
    payloads[2] = payload(2, float("nan"), png(2))
    dataset = RecDataset(write(tmp_path / "a.rec", payloads))
    with pytest.raises(DataError, match="record 2: its header says class nan"):
        dataset.encoded(1)


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        (1, bytes(23), "record 1: the record has 23 bytes, fewer than the 24"),
        (1, b"", "record 1: the record has 0 bytes"),
        (1, struct.pack("<IfQQ", 3, 0, 1, 0) + bytes(11), "record 1: the record claims 3 labels"),
        (1, struct.pack("<IfQQ", 2**32 - 1, 0, 1, 0) + bytes(40), "record 1: the record claims 4294967295 labels"),
        (0, payload(0, [4, 7]), "record 0: the identity records should have the keys 4 to 6"),
        (0, payload(0, [4, 4]), "record 0: the identity records should have the keys 4 to 3"),
        (0, payload(0, [0, 6]), "record 0: the identity records should have the keys 0"),
        (0, payload(0, [6, 4]), "record 0: "),
        (0, payload(0, [4, 1e30]), "record 0: the label is 1.*e.30"),
        (0, payload(0, [float("nan"), 6]), "record 0: the label is nan"),
        (0, payload(0, [4, float("nan")]), "record 0: the label is nan"),
        (0, payload(0, [4.5, 6]), "record 0: the label is 4.5"),
        (0, payload(0, [3, 6]), "record 3: record 0 counts it among the identity records"),
        (0, payload(0, [1, 6]), "identities but no images"),
        (4, payload(4, [1, 5]), "record 4: its images should have the keys 1 to 4"),
        (4, payload(4, [0, 3]), "record 4: its images should have the keys 0 to 2"),
        (4, payload(4, [3, 1]), "record 4: its images"),
        (4, payload(4, [-1, 3]), "record 4: the label is -1"),
        (4, payload(4, 1), "record 4: record 0 counts it"),
        (0, payload(0, 1, png(0)), "record 4: it is an identity record, but record 0"),
    ],
)
def test_damaged_records(tmp_path: Path, key: int, content: bytes, message: str) -> None:
    payloads = insightface([2, 1])
    payloads[key] = content
    with pytest.raises(DataError, match=message) as caught:
        RecDataset(write(tmp_path / "a.rec", payloads))
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", "holds no records' places"),
        (b"\n\n", "holds no records' places"),
        (b"0\t0\nx\t8\n", "line 2 is 'x.*8'"),
        (b"0\t0\n\n1\t-8\n", "line 3"),
        (b"0\t0\n1.0\t48\n", "line 2"),
        (b"0\t0\n1\n", "line 2"),
        (b"0\t0\n1\t48\t9\n", "line 2"),
        (b"0 0\n", "line 1"),
        (b"0\t" + b"9" * 19 + b"\n", "line 1"),
        (b"\x1b[31m\t\xff\n", r"line 1 is '\\x1b\[31m"),
        (b"0\t0\n1\t40\n0\t200\n", "the key 0 stands there twice"),
        (b"0\t0\n1\t40\n2\t40\n", "the byte offset 40 stands there twice"),
        (b"0\t0\n1\t42\n", "record 1 is said to begin at byte 42 of .*a.rec"),
        (b"0\t0\n1\t99999996\n", "record 1 is said to begin at byte 99999996 of .*a.rec"),
        (b"0\t4\n", r"a\.rec, record 0: no record begins at byte 4, where .*a\.idx"),
    ],
)
def test_damaged_indexes(tmp_path: Path, lines: bytes, message: str) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    path.with_suffix(".idx").write_bytes(lines)
    with pytest.raises(DataError, match=message) as caught:
        RecDataset(path)
    assert "a.idx" in str(caught.value)
    assert caught.value.next_step


def test_an_index_longer_than_a_block_names_the_right_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    path.with_suffix(".idx").write_bytes(b"".join(b"%d\t%d\n" % (n, 4 * n) for n in range(200_000)) + b"no\n")
    with pytest.raises(DataError, match="line 200001 is 'no'"):
        RecDataset(path)


def test_the_index_of_another_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    other = write(tmp_path / "b.rec", insightface([20, 10, 40]))
    path.with_suffix(".idx").write_bytes(other.with_suffix(".idx").read_bytes())
    with pytest.raises(DataError, match=r"a\.idx: .*a\.rec.*do not belong together"):
        RecDataset(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match="truncated"):
        RecDataset(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(DataError, match="truncated"):
        RecDataset(path)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such"):
        RecDataset(tmp_path / "a.rec")
    (tmp_path / "a.rec").touch()
    with pytest.raises(DataError, match="empty"):
        RecDataset(tmp_path / "a.rec")
    identities_only = {0: payload(0, [1, 2]), 1: payload(1, [1, 1])}
    with pytest.raises(DataError, match="identities but no images"):
        RecDataset(write(tmp_path / "b.rec", identities_only))


def test_notes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    notes: list[str] = []
    (tmp_path / "property").write_bytes(b"2,112,112\r\n")
    RecDataset(path, note=notes.append)
    assert notes == []
    (tmp_path / "property").write_bytes(b"\x1b85742,112,112")
    RecDataset(path)
    RecDataset(path, note=notes.append)
    assert notes == [f"{path}: the file property says \\x1b85742 classes, the records have 2"]


def test_a_list_gives_keys_and_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    # As im2rec writes it: in any order, labels as floats, and images that did not make it into the .rec.
    (tmp_path / "a.lst").write_bytes(
        b"3\t1.000000\tx/Bo\xff/1.jpg\r\n9\t0\tx/Al/9.jpg\n2\t0\t7\tx/Al/2.jpg\n1\t0\tx/Al/1.jpg"
    )
    dataset = RecDataset(path)
    assert [dataset.key(index) for index in range(3)] == ["x/Al/1.jpg", "x/Al/2.jpg", "x/Bo\udcff/1.jpg"]
    assert dataset.identities == ["x/Al", "x/Bo\udcff"]
    assert dataset.fingerprint != RecDataset(write(tmp_path / "b.rec", insightface([2, 1]))).fingerprint
    assert pickle.loads(pickle.dumps(dataset)).key(1) == "x/Al/2.jpg"


@pytest.mark.parametrize(
    "lines",
    [
        b"1\t0\ta/1.jpg\n2\t0\tb/2.jpg\n3\t1\tc/3.jpg\n",  # two folders for one person
        b"1\t0\ta/1.jpg\n2\t0\ta/2.jpg\n3\t1\ta/3.jpg\n",  # one folder for two
        b"1\t0\ta/1.jpg\n2\t0\ta/2.jpg\n3\t1\t3.jpg\n",  # no folder
    ],
)
def test_folders_that_are_no_identities_name_none(tmp_path: Path, lines: bytes) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    (tmp_path / "a.lst").write_bytes(lines)
    dataset = RecDataset(path)
    assert dataset.identities == ["0", "1"]
    assert dataset.key(0) == "a/1.jpg"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"1\t/data/a/1.jpg\t0\n", "line 1 is"),  # insightface's own lists: aligned, path, label
        (b"1\t0\ta/1.jpg\n2\t0\n", "line 2 is"),
        (b"1\t0\ta/1.jpg\n2\t0\ta/2.jpg\n", "does not list record 3"),
        (b"", "does not list record 1"),
        (b"1\t0\ta/1.jpg\n2\t1\ta/2.jpg\n3\t1\tb/3.jpg\n", "record 2 another label"),
        (b"1\tnan\ta/1.jpg\n2\t0\ta/2.jpg\n3\t1\tb/3.jpg\n", "record 1 another label"),
        (b"99999999999999999999\t0\ta\n", "line 1"),
        *(
            (b"1\t0\t" + name + b"\n", "line 1 is")
            for name in (b"/a", b"../a", b"a/..", b"a//b", b"C:a", b"a\\..", b"")
        ),
    ],
)
def test_a_list_that_does_not_fit_is_left_aside(tmp_path: Path, lines: bytes, message: str) -> None:
    path = write(tmp_path / "a.rec", insightface([2, 1]))
    (tmp_path / "a.lst").write_bytes(lines)
    notes: list[str] = []
    dataset = RecDataset(path, note=notes.append)
    assert len(notes) == 1
    assert "a.lst is not used for names" in notes[0]
    assert message in notes[0]
    assert dataset.key(0) == "00000001"
    assert dataset.identities == ["0", "1"]


def test_the_fingerprint_tells_sets_apart(tmp_path: Path) -> None:
    base = insightface([2, 1])
    variants = {
        "same": base,
        "labels": insightface([1, 2]),
        "class numbers": insightface([2, 1], classes=[0, 5]),
        "an image": {**base, 2: payload(2, 0, png(2) + bytes(4))},
        "order": {key: base[key] for key in (0, 2, 1, 3, 4, 5)},
    }
    # Pictures of different lengths, or their order would not show.
    for payloads in variants.values():
        payloads[1] += bytes(4)
    found = {name: RecDataset(write(tmp_path / f"{name}.rec", each)).fingerprint for name, each in variants.items()}
    assert RecDataset(write(tmp_path / "again.rec", base)).fingerprint == found["same"]
    assert len(set(found.values())) == len(variants)


def test_a_pickle_is_small_and_reads_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", {key: payload(key, key // 2, bytes(5000)) for key in range(100)})
    dataset = RecDataset(path)
    dataset.encoded(0)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 100 * 3 * 8 + 10_000
    other = pickle.loads(pickled)
    assert other.fingerprint == dataset.fingerprint
    assert other.encoded(99) == bytes(5000)
    assert other.labels.tolist() == dataset.labels.tolist()


def test_threads_read_at_once(tmp_path: Path) -> None:
    dataset = RecDataset(write(tmp_path / "a.rec", insightface([10] * 20)))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: red(dataset, index), list(range(200)) * 5))
    assert found == [*range(1, 201)] * 5
