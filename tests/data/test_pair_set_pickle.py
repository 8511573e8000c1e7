from __future__ import annotations

import contextlib
import pickle
import pickletools
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from facedistill.data.pair_set_pickle import load_pair_set_pickle
from facedistill.data.pair_set_values import Dtype, PickledArray, PickledText
from facedistill.data.verification_bin import read_bin
from facedistill.errors import DataError

GOOD = b"\x80\x04](C\x01aC\x01be]\x88a\x86."
MEGABYTE = 1 << 20
SIZE = 1 << 17


def load(content: bytes) -> object:
    return load_pair_set_pickle(content, place="set.bin")


def plain(item: object) -> object:
    """The same with arrays as (type, bytes) and texts as str."""
    if isinstance(item, PickledArray):
        return item.dtype, item.data
    if isinstance(item, PickledText):
        return str(item)
    return type(item)(map(plain, item)) if isinstance(item, (list, tuple)) else item


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        ([], ()),
        [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        [True, False, None, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**40, -(2**62)],
        [b"", b"a", bytes(range(256)), bytes(300), b"'\"\\\n\r\t\0", "", "text", "\xe4\xff\x80\\\n", "x" * 300],
        [[b"ab"] * 3, [b"ab" * 200] * 3],
        list(range(2500)),
    ],
    ids=["empty", "tuples", "numbers", "strings", "shared", "batches"],
)
def test_what_python_3_writes(content: object, protocol: int) -> None:
    assert plain(load(pickle.dumps(content, protocol))) == content


def test_sharing_is_kept() -> None:
    image = bytes(300)
    first, second = load(pickle.dumps([image, image]))
    assert first is second


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_every_protocol(protocol: int) -> None:
    bits = np.array([True, False, True])
    square = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = [np.arange(5, dtype=np.uint8), bits, bits[1], bits[0], square, bytearray(b"abc"), bytearray()]
    expected = [
        (Dtype.UINT8, bytes(range(5))),
        (Dtype.BOOL, b"\1\0\1"),
        False,
        True,
        (Dtype.UINT8, bytes(range(6))),
        b"abc",
        b"",
    ]
    assert plain(load(pickle.dumps(content, protocol))) == expected


def test_both_spellings_of_numpys_modules() -> None:
    for protocol in (2, 4, 5):
        content = pickle.dumps(np.arange(5, dtype=np.uint8), protocol)
        old = content.replace(b"numpy._core.", b"numpy.core.")
        if protocol > 2:
            old = old.replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core")  # the length of the name
            old = old.replace(b"\x8c\x13numpy.core", b"\x8c\x12numpy.core")
            old = old[:2] + b"\x95" + struct.pack("<Q", len(old) - 11) + old[11:]
        assert old != content
        assert plain(load(old)) == plain(load(content)) == (Dtype.UINT8, bytes(range(5)))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"I01\n.", True),
        (b"I00\n.", False),
        (b"I1\n.", 1),
        (b"\x88.", True),
        (b"\x89.", False),
        (b"L12L\n.", 12),
        (b"\x8a\x02\xff\x00.", 255),
        (b"(I1\nI2\nl.", [1, 2]),
        (b"S'a\\x00\\'\\n\\\\'\n.", b"a\0'\n\\"),
        (b'S"it\'s"\n.', b"it's"),
        (b"T\x02\x00\x00\x00\xff\x00.", b"\xff\0"),
        (b"U\x02\xff\x00.", b"\xff\0"),
        (b"]q\x00h\x00\x86.", ([], [])),
        (b"]p77\ng77\n\x86.", ([], [])),
        (b"]p1\nq\x05\x94(g1\nh\x05h\x02t.", ([], [], [])),
        (b"]p1\n0"[:4] + b"p90000\n\x94\x94(h\x02h\x03g90000\nt.", ([], [], [])),
        (b"]r\xff\xff\xff\x7fj\xff\xff\xff\x7f\x86.", ([], [])),
    ],
)
def test_opcodes_laid_out_by_hand(content: bytes, value: object) -> None:
    result = load(content)
    assert result == value
    assert type(result) is type(value)


def refused(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that make an ordinary unpickler create the canary or do other mischief -> what the message says."""
    command = f"touch {canary}".encode()
    line = b"S'" + command + b"'\n"
    text = b"\x8c" + bytes([len(command)]) + command
    return {
        "reduce": (b"cposix\nsystem\n(" + line + b"tR.", r"asks for 'posix\.system'"),
        "stack_global": (b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + text + b"\x85R.", r"asks for 'posix\.system'"),
        "by memo": (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93.", "opcode POP at"),
        "inst": (b"(" + line + b"iposix\nsystem\n.", "opcode INST at"),
        "obj": (b"(cposix\nsystem\n" + line + b"o.", r"asks for 'posix\.system'"),
        "obj alone": (b"(" + line + b"o.", "opcode OBJ at"),
        "newobj": (b"\x80\x02)\x81.", "opcode NEWOBJ at"),
        "newobj_ex": (b"\x80\x04)\x92.", "opcode NEWOBJ_EX at"),
        "ext1": (b"\x80\x02\x82\x01.", "opcode EXT1 at"),
        "ext2": (b"\x80\x02\x83\x01\x00.", "opcode EXT2 at"),
        "ext4": (b"\x80\x02\x84\x01\x00\x00\x00.", "opcode EXT4 at"),
        "persid": (b"Phere\n.", "opcode PERSID at"),
        "binpersid": (b"]Q.", "opcode BINPERSID at"),
        "dict": (b"}.", "opcode EMPTY_DICT at"),
        "set": (b"\x80\x04\x8f.", "opcode EMPTY_SET at"),
        "float": (b"F1.5\n.", "opcode FLOAT at"),
        "next buffer": (b"\x80\x05\x97.", "opcode NEXT_BUFFER at"),
        "getattr": (b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'x'\ntR.", r"asks for 'builtins\.getattr'"),
        "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", r"asks for 'numpy\.ndarray\.dumps'"),
        "terminal": (b"c\x1b]0;x\x07\nevil\n.", r"asks for '\\x1b\]0;x\\x07\.evil'"),
        "long name": (b"c" + b"m" * MEGABYTE + b"\nevil\n.", r"asks for 'm+\.\.\.m*\.evil'"),
        "array itself": (b"cnumpy\nndarray\n((I9\ntS'u1'\ntR.", r"calls 'numpy\.ndarray' with \(tuple, 'u1'\)"),
        "huge array": (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I999999999\ntS'b'\ntR.",
            r"calls 'multiarray\._reconstruct'",
        ),
        "other kind of array": (b"cnumpy.core.multiarray\n_reconstruct\n(S'x'\n(I0\ntS'b'\ntR.", "_reconstruct"),
        "dtype of objects": (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", r"calls 'numpy\.dtype' with \('O8', int, int\)"),
        "dtype from text": (b"cnumpy\ndtype\n(S'u1,u1'\nI0\nI1\ntR.", r"calls 'numpy\.dtype'"),
        "dtype with fields": (
            b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nN(S'f'\ntNI-1\nI-1\nI0\ntb.", "sets a state"),
        "two states of an array": (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
            + b"(I1\n(I1\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntRI0\nS'a'\ntb" * 2
            + b".",
            "sets a state",
        ),
        "huge bytes": (b"cbuiltins\nbytes\n(I999999999999\ntR.", r"calls 'bytes' with \(int\)"),
        "scalar of an object": (b"cnumpy.core.multiarray\nscalar\n(S'O'\nS'x'\ntR.", "multiarray.scalar"),
        "codec": (b"c_codecs\nencode\n(Va\nVzlib\ntR.", r"calls '_codecs\.encode' with \('a', 'zlib'\)"),
        "call of a value": (b"])R.", "calls what is no function"),
        "state of a function": (b"c_codecs\nencode\n(S'a'\nI1\ntb.", "sets a state"),
        "state of a list": (b"](I1\ntb.", "sets a state"),
        "beyond latin-1": (b"X\x03\x00\x00\x00\xe2\x82\xac.", "text beyond latin-1"),
        "beyond latin-1 by escape": (b"Va\\u20ac\n.", "text beyond latin-1"),
        "long number": (b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".", "a number of 255 bytes"),
    }  # fmt: skip


@pytest.mark.parametrize("case", refused(Path("unused")))
def test_nothing_is_run(tmp_path: Path, case: str) -> None:
    canary = tmp_path / "canary"
    content, message = refused(canary)[case]
    modules = set(sys.modules)
    with pytest.raises(DataError, match=message) as caught:
        load(content)
    assert "nothing of it was run" in caught.value.cause
    assert len(str(caught.value)) < 400
    assert not canary.exists()
    assert set(sys.modules) == modules


def test_the_canary_sings(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(refused(canary)["reduce"][0])
    assert canary.exists(), "an ordinary unpickler runs nothing either, so that the test above shows nothing"


HUGE = 2**63 - 1


@pytest.mark.parametrize(
    "content",
    [
        b"B\xff\xff\xff\x7f",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"T\xff\xff\xff\xff",  # -1
        b"T\x00\x00\x00\x80",
        b"U\xff",
        b"C\xff",
        b"X\xff\xff\xff\xff",
        b"\x8c\xff",
        b"\x8b\xff\xff\xff\x7f",
        *(code + struct.pack("<Q", HUGE) for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")),
        *(code + struct.pack("<Q", 2**64 - 1) for code in (b"\x8d", b"\x8e", b"\x96", b"\x95")),
        b"p" + b"9" * 5000 + b"\n",
        b"g" + b"9" * 19 + b"\n",
        b"j\xff\xff\xff\xff",
        b"h\x01",
        b"I" + b"9" * MEGABYTE + b"\n.",
        b"L" + b"9" * MEGABYTE + b"L\n.",
        b"p-1\n",
        b"I1.5\n",
        b"S'a\n.",
        b"Sa\n.",
        b"S'\\x4'\n.",
        b"S'\\q'\n.",
        b"V\\u12\n.",
        b"X\x01\x00\x00\x00\xc3.",
        b"X\x02\x00\x00\x00\xed\xa0.",
        b"a",
        b"e",
        b"t",
        b"R",
        b"b",
        b"\x94",
        b"\x87",
        b"\x93",
        b"I1\n\x94(\x94",
        b"I1\n(I2\ne.",
        b".",
        b"\x80\x06].",
        b"\x80\xff].",
        b"\xff",
    ],
)  # fmt: skip
def test_what_is_damaged(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"no pickle of a pair set|which a pair set has no use for"):
            load(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(content) + MEGABYTE


def many(piece: bytes, *, start: bytes = b"", size: int = SIZE) -> bytes:
    return start + piece * (size // len(piece))


@pytest.mark.parametrize(
    "content",
    [
        many(b"("),
        many(b"]"),
        many(b")"),
        many(b"N"),
        many(b"\x88"),
        many(b"\x85", start=b")"),
        many(b"\x86", start=b"N" * 2000),
        many(b"(t"),
        many(b"\x94", start=b"]"),
        many(b"q\x00", start=b"]"),
        many(b"]\x94"),
        many(b"p9999999\n", start=b"]"),
        b"]" + b"".join(b"r" + struct.pack("<I", 1001 * number) for number in range(SIZE // 5)),
        b"]" + b"".join(b"r" + struct.pack("<I", 999 * number) for number in range(SIZE // 5)),
        many(b"h\x00", start=b"]q\x00("),
        many(b"h\x00a", start=b"]q\x00"),
        many(b"h\x01a", start=b"C\xff" + bytes(255) + b"q\x01" + b"]"),
        many(b"(h\x01h\x02tR", start=b"X\x00\x10\x00\x00" + bytes(4096) + b"q\x01X\x06\x00\x00\x00latin1q\x02"),
        many(b"C\x01a"),
        many(b"V\n"),
        many(b"S''\n"),
        many(b"K\x01"),
        many(b"J\x00\x00\x00\x40"),
        many(b"c_codecs\nencode\n"),
        many(b"a", start=b"]" * 5000),
        many(b"\x80\x04") + b".",
        b"X" + struct.pack("<I", SIZE) + b"\xc3\xbf" * (SIZE // 2) + b".",
        b"X" + struct.pack("<I", SIZE) + b"a" * (SIZE - 4) + "\U0001f600".encode() + b".",
        b"V" + b"a" * SIZE + b"\\U0001f600\n.",
        b"V" + b"a" * SIZE + b"\n.",
        b"S'" + b"\\\\" * (SIZE // 2) + b"'\n.",
        b"S'" + b"a" * SIZE + b"'\n.",
        b"\x8e" + struct.pack("<Q", SIZE) + bytes(SIZE) + b".",
    ],
)
def test_time_and_memory_follow_the_size_of_the_file(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small values, deep nesting, endless references: read or refused, in little time and memory."""
    # The allowance is for small files; without it a small file here stands for a large one.
    monkeypatch.setattr("facedistill.data.pair_set_pickle.ALLOWANCE", SIZE // 4)
    started = time.process_time()
    with contextlib.suppress(DataError):
        load(content)
    assert time.process_time() - started < 1
    tracemalloc.start()
    with contextlib.suppress(DataError):
        load(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The content itself counts: the reader of a file holds it too.
    assert peak + len(content) < 4 * len(content)


def test_a_list_in_itself_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"\x80\x02]q\x00(h\x00h\x00e]\x88a\x86.")
    with pytest.raises(DataError, match="image 0 is of type list"):
        read_bin(tmp_path / "set.bin")


def test_ten_thousand_pairs_of_tiny_images_and_shared_ones_fit() -> None:
    """The limit on values does not touch pair sets: images of some hundred bytes, all fresh or few shared by many."""
    fresh = [index.to_bytes(2, "little") * 128 for index in range(20_000)]
    shared = [fresh[index % 1000] for index in range(20_000)]
    for images in (fresh, shared):
        content = (images, [True, False] * 5000)
        assert load(pickle.dumps(content, 4)) == content


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_a_thousand_bytes_fit(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost most values an image; without the allowance, 500 stand for any number."""
    monkeypatch.setattr("facedistill.data.pair_set_pickle.ALLOWANCE", 4000)
    images = np.random.default_rng(0).integers(0, 256, (500, 1000), dtype=np.uint8)
    content = ([image.copy() for image in images], [np.bool_(True)] * 250)
    arrays, flags = load(pickle.dumps(content, protocol))
    assert [array.data for array in arrays] == [image.tobytes() for image in images]
    assert flags == [True] * 250


def test_every_opcode_is_known_or_refused() -> None:
    """None leads to another error, whatever stands behind it."""
    known = {ord(opcode.code) for opcode in pickletools.opcodes}
    for code in range(256):
        for rest in (b"", b".", b"\x00" * 9 + b".", b"1\n2\n.", b"\x01a."):
            with contextlib.suppress(DataError):
                load(GOOD[:-2] + bytes([code]) + rest)
        if code not in known:
            with pytest.raises(DataError, match="is no opcode"):
                load(GOOD[:-2] + bytes([code]))


def test_the_good_one_of_these_tests_is_good() -> None:
    assert load(GOOD) == pickle.loads(GOOD) == ([b"a", b"b"], [True])
    assert load(GOOD + b"what follows is not read") == ([b"a", b"b"], [True])
