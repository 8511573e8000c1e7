from __future__ import annotations

import pickle
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.records.recordio import RecordFile, pack_record
from facedistill.errors import DataError

from .rec_files import MAGIC, part, record

# Payloads of words, some of them the magic number, and of a rest that may be its beginning.
PAYLOADS = st.builds(
    lambda words, rest: b"".join(words) + rest,
    st.lists(st.sampled_from([MAGIC, b"abcd", b"\0\0\0\0", b"x" + MAGIC[:3], MAGIC[1:] + b"y"]), max_size=12),
    st.sampled_from([b"", b"a", MAGIC[:3], b"ab"]),
)


def opened(path: Path, content: bytes) -> RecordFile:
    path.write_bytes(content)
    return RecordFile(path)


def test_bytes_laid_out_by_hand(tmp_path: Path) -> None:
    # 0xced7230a little endian; length 5; "hello"; 3 zero bytes
    content = bytes.fromhex("0a23d7ce 05000000 68656c6c6f 000000")
    assert pack_record(b"hello") == content
    assert opened(tmp_path / "a.rec", content).payload(0, 0) == b"hello"


def test_a_payload_is_cut_at_an_aligned_magic_number_alone(tmp_path: Path) -> None:
    payload = b"abcd" + MAGIC + MAGIC + b"x" + MAGIC + b"ef"
    # First part "abcd", an empty middle one, and the last, whose magic number stands at byte 13 and remains.
    content = bytes.fromhex("0a23d7ce 04000020 61626364 0a23d7ce 00000040 0a23d7ce 07000060 78 0a23d7ce 6566 00")
    assert pack_record(payload) == content
    assert opened(tmp_path / "a.rec", content).payload(0, 0) == payload


@given(st.lists(PAYLOADS, min_size=1, max_size=5))
def test_payloads_come_back_whatever_they_hold(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    packed = [pack_record(payload) for payload in payloads]
    assert packed == [record(payload) for payload in payloads]
    records = opened(tmp_path_factory.mktemp("rec") / "a.rec", b"".join(packed))
    offsets = records.scan()
    assert offsets.tolist() == np.cumsum([0, *map(len, packed[:-1])]).tolist()
    assert [records.payload(int(offset), 0) for offset in offsets] == payloads


def test_a_payload_too_long_for_its_length_field_is_refused() -> None:
    with pytest.raises(DataError, match="536870912 bytes is too long"):
        pack_record(bytes(1 << 29))  # zeros that the system does not hand out before they are looked at


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MAGIC, "truncated.*ends 4 bytes after"),
        (part(0, b"abcdefgh")[:-4], "truncated.*8 bytes should follow, and the file holds 4"),
        (part(0, b"abcde")[:-1], "truncated"),
        (part(0, b"abcd").replace(MAGIC, b"\0\0\0\0"), "no record begins at byte 0"),
        (part(2, b"abcd"), "no record begins at byte 0"),
        (part(3, b"abcd"), "no record begins at byte 0"),
        (part(4, b"abcd"), "no record begins at byte 0"),
        (part(1, b"abcd"), "truncated.*last part is missing"),
        (part(1, b"abcd") + part(2, b"abcd"), "truncated.*last part is missing"),
        (part(1, b"abcd") + part(1, b"abcd") + part(3, b""), "out of order at byte 12"),
        (part(1, b"abcd") + part(0, b"abcd"), "out of order at byte 12"),
        (part(1, b"abcd") + b"wrong magic!", "out of order at byte 12"),
        (MAGIC + struct.pack("<I", 2**29 - 1) + b"abcd", "truncated.*536870911 bytes"),
    ],
)
def test_damaged_records_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    records = opened(tmp_path / "a.rec", content)
    with pytest.raises(DataError, match=f"record 7: .*{message}"):
        records.payload(0, 7)
    with pytest.raises(DataError, match=f"record 0: .*{message}"):
        records.scan()


def test_the_damage_is_told_by_the_number_of_its_record(tmp_path: Path) -> None:
    content = part(0, b"one") + part(1, b"two!") + part(3, b"") + part(0, b"three")[:-8]
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))}/a.rec, record 2: the file is truncated"):
        opened(tmp_path / "a.rec", content).scan()


@pytest.mark.parametrize("offset", [-4, 2, 4, 12, 1 << 40])
def test_an_offset_that_is_none_names_both_files(tmp_path: Path, offset: int) -> None:
    (tmp_path / "a.rec").write_bytes(part(0, b"abcd"))
    records = RecordFile(tmp_path / "a.rec", tmp_path / "b.idx")
    with pytest.raises(DataError, match=r"a\.rec, record 3: .*b\.idx") as caught:
        records.payload(offset, 3)
    assert "do not belong together" in str(caught.value)


def test_a_missing_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such"):
        RecordFile(tmp_path / "a.rec")
    with pytest.raises(DataError, match="no such"):
        RecordFile(tmp_path)
    with pytest.raises(DataError, match="empty"):
        opened(tmp_path / "a.rec", b"")


def test_words_beyond_the_end_are_zero(tmp_path: Path) -> None:
    records = opened(tmp_path / "a.rec", struct.pack("<3I", 1, 2, 3) + b"\1\1\1")
    words = records.words(np.array([0, 8, 400]), 2)
    assert words.tolist() == [[1, 2], [3, 0], [0, 0]]
    assert opened(tmp_path / "b.rec", b"\1\1").words(np.array([0]), 2).tolist() == [[0, 0]]


def test_a_pickle_holds_no_map_and_a_changed_file_is_noticed(tmp_path: Path) -> None:
    payload = bytes(100_000)
    records = opened(tmp_path / "a.rec", record(payload))
    assert records.payload(0, 0) == payload
    pickled = pickle.dumps(records)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).payload(0, 0) == payload
    (tmp_path / "a.rec").write_bytes(record(payload[4:]))
    with pytest.raises(DataError, match="bytes now"):
        pickle.loads(pickled).payload(0, 0)


def test_threads_read_at_once(tmp_path: Path) -> None:
    payloads = [bytes([number]) * (1000 + number) for number in range(200)]
    records = opened(tmp_path / "a.rec", b"".join(map(record, payloads)))
    offsets = records.scan()
    records.release()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda offset: records.payload(int(offset), 0), offsets)) == payloads


def test_a_record_that_begins_within_a_word_is_none(tmp_path: Path) -> None:
    records = opened(tmp_path / "a.rec", b"ab" + part(0, b"abcd") + b"cd")
    with pytest.raises(DataError, match="no record begins at byte 2"):
        records.payload(2, 0)
