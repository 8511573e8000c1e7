from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.data.verification_bin import read_bin, write_bin
from facedistill.errors import DataError


def encoded_image(value: int, suffix: str = ".png") -> bytes:
    """A 4 x 4 picture whose red channel is `value`."""
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[..., 2] = value  # OpenCV's order is BGR
    return cv2.imencode(suffix, image)[1].tobytes()


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "set.bin"
    images = [encoded_image(value) for value in (10, 20, 30, 40)]
    write_bin(path, images, np.array([True, False]))
    content = read_bin(path)
    assert content.images == images
    assert content.same.tolist() == [True, False]
    assert content.same.dtype == np.bool_
    assert content.pairs.tolist() == [[0, 1], [2, 3]]
    assert [int(content.image(index)[0, 0, 0]) for index in range(len(content))] == [10, 20, 30, 40]
    assert content.image(3)[0, 0].tolist() == [40, 0, 0]
    assert content.key(3) == "set.bin[3]"
    assert content.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_ordinary_unpickler_reads_what_is_written(tmp_path: Path) -> None:
    write_bin(tmp_path / "set.bin", [b"a", b"b"], [True])
    assert pickle.loads((tmp_path / "set.bin").read_bytes(), encoding="bytes") == ([b"a", b"b"], [True])


# As Python 2.7 pickles ([array, str], [True]) under protocol 0: opcodes S for str, I01 for True.
PYTHON_2_TEXT = (
    rb"((lp0" + b"\n"
    rb"cnumpy.core.multiarray" + b"\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntS'b'\ntRp3\n"
    b"(I1\n(I3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x01\\xff'\ntba"
    b"S'\\x89P\\xff'\na(lp9\nI01\nat."
)
# The same with strings only under protocol 2: T (4-byte length) and U (1-byte length) for str, \x88 for True.
PYTHON_2_BINARY = b"\x80\x02]q\x00(T\x03\x00\x00\x00\x00\x01\xffU\x03\x89P\xffe]q\x01\x88a\x86q\x02."


@pytest.mark.parametrize("content", [PYTHON_2_TEXT, PYTHON_2_BINARY], ids=["protocol 0", "protocol 2"])
def test_python_2_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old.bin").write_bytes(content)
    read = read_bin(tmp_path / "old.bin")
    assert read.images == [b"\x00\x01\xff", b"\x89P\xff"]
    assert read.same.tolist() == [True]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_kind_of_item_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    image = encoded_image(7)
    array = np.frombuffer(image, dtype=np.uint8).copy()
    strided = np.stack([array, array], axis=1)[:, 0]
    items = [image, bytearray(image), array, strided, b"", np.zeros(0, dtype=np.uint8)]
    content = read_bin(write_pickle(tmp_path / "set.bin", (items, [True, np.bool_(False), 1]), protocol))
    assert content.images == [image] * 4 + [b""] * 2
    assert content.same.tolist() == [True, False, True]


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_flags_may_be_one_array(tmp_path: Path, protocol: int) -> None:
    content = read_bin(write_pickle(tmp_path / "set.bin", ([b"a", b"b"], np.array([False])), protocol))
    assert content.same.tolist() == [False]


class Malicious:
    """Creates a file when an ordinary unpickler meets it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "harm"
    path = write_pickle(tmp_path / "set.bin", ([b"a", Malicious(target)], [True]), protocol)
    with pytest.raises(DataError, match=r"set\.bin: the pickle asks for '(posix|nt)\.system'"):
        read_bin(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists(), "the pickle does no harm at all, so this test shows nothing"


@pytest.mark.parametrize(
    "name",
    [b"builtins\neval", b"builtins\ngetattr", b"__builtin__\neval", b"numpy\nload", b"copyreg\n_reconstructor"],
)
def test_names_near_the_allowed_ones_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "set.bin").write_bytes(b"c" + name + b"\n.")
    module, attribute = name.decode().split("\n")
    with pytest.raises(DataError, match=rf"asks for '{module}\.{attribute}'"):
        read_bin(tmp_path / "set.bin")


def test_only_latin1_text_becomes_bytes(tmp_path: Path) -> None:
    """`_codecs.encode` itself would import any codec by name."""
    (tmp_path / "set.bin").write_bytes(b"c_codecs\nencode\n(Vab\nVrot13\ntR.")
    with pytest.raises(DataError, match="not rot13"):
        read_bin(tmp_path / "set.bin")


def test_a_pickle_cannot_leave_anything_behind_in_the_reader(tmp_path: Path) -> None:
    """A pickle may set attributes of what it is given; the next file must not see them."""
    (tmp_path / "set.bin").write_bytes(b"c_codecs\nencode\n}Vmark\nI1\nsb0((lp0\nS'a'\naS'b'\na(lp1\nI01\nat.")
    read_bin(tmp_path / "set.bin")
    from facedistill.data.verification_bin import _allowed_callables

    assert not hasattr(_allowed_callables()["_codecs", "encode"], "mark")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b"a", b"b"], r"holds a tuple \(bytes, bytes\)"),
        (([b"a", b"b"],), "of type tuple with 1 items"),
        ({"images": []}, "of type dict with 1 items"),
        (3, "holds one object of type int"),
        (([b"a", b"b", b"c"], [True]), "3 images, which do not make pairs"),
        (([b"a", b"b"], [True, False]), "1 pairs of images and 2 flags"),
        (([], []), "holds no pairs"),
        (([b"a", "text"], [True]), "image 1 is of type str, not a byte string"),
        (([b"a", np.zeros(3)], [True]), "image 1 is of type array of float64"),
        (([b"a", b"b"], ["yes"]), "flag of pair 0 is 'yes'"),
        (([b"a", b"b"], [2]), "flag of pair 0 is 2"),
    ],
)
def test_a_wrong_structure_says_what_is_there(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_bin(write_pickle(tmp_path / "set.bin", content))
    assert caught.value.place == str(tmp_path / "set.bin")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04", pickle.dumps(([b"a" * 99, b"b"], [True]))[:40]])
def test_what_is_no_pickle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.bin").write_bytes(content)
    with pytest.raises(DataError, match="no pickle of a pair set") as caught:
        read_bin(tmp_path / "set.bin")
    assert caught.value.next_step is not None


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_bin(tmp_path / "none.bin")


def test_a_corrupt_image_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    write_bin(tmp_path / "set.bin", [encoded_image(1), encoded_image(2)[:-9]], [True])
    content = read_bin(tmp_path / "set.bin")
    assert content.image(0).shape == (4, 4, 3)
    with pytest.raises(DataError, match=r"set\.bin, image 1: the image is truncated"):
        content.image(1)


def test_numbers_that_do_not_belong_together_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 images and 2 flags"):
        write_bin(tmp_path / "set.bin", [b"a"] * 3, [True, False])
    assert not (tmp_path / "set.bin").exists()
