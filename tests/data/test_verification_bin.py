from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.folder import FolderDataset
from facedistill.data.verification_bin import read_bin, write_bin
from facedistill.errors import DataError
from facedistill.evaluation.benchmark import load_bin_benchmark
from facedistill.evaluation.folds import contiguous_folds
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import evaluate_verification
from facedistill.preprocessing import Preprocessing


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
    with pytest.raises(DataError, match=r"calls '_codecs\.encode' with \('ab', 'rot13'\)"):
        read_bin(tmp_path / "set.bin")


def test_a_pickle_cannot_set_attributes(tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"c_codecs\nencode\n(Vmark\nI1\ntb0((lp0\nS'a'\naS'b'\na(lp1\nI01\nat.")
    with pytest.raises(DataError, match="sets a state that is not one of an array"):
        read_bin(tmp_path / "set.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b"a", b"b"], r"holds a tuple \(bytes, bytes\)"),
        (([b"a", b"b"],), "of type tuple with 1 items"),
        ({"images": []}, "uses the opcode EMPTY_DICT"),
        (3, "holds one object of type int"),
        (([b"a", b"b", b"c"], [True]), "3 images, which do not make pairs"),
        (([b"a", b"b"], [True, False]), "1 pairs of images and 2 flags"),
        (([], []), "holds no pairs"),
        (([b"a", "text"], [True]), "image 1 is of type str, not a byte string"),
        (([b"a", np.zeros(3)], [True]), r"calls 'numpy\.dtype' with \('f8', bool, bool\)"),
        (([b"a", b"b"], ["yes"]), "flag of pair 0 is 'yes'"),
        (([b"a", b"b"], [2]), "flag of pair 0 is 2"),
        (([b"a", b"b"], [b"yes"]), "flag of pair 0 is bytes, not a boolean"),
        (([b"a", [b"b"]], [True]), "image 1 is of type list, not a byte string"),
        (([b"a", np.zeros(3, dtype=np.bool_)], [True]), "image 1 is of type array of bool"),
        (([b"a", b"b"], np.zeros(1, dtype=np.uint8)), r"holds a tuple \(list, array of uint8\)"),
        (np.zeros(2, dtype=np.uint8), "holds one object of type array of uint8"),
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


def test_identities_are_what_genuine_pairs_and_equal_bytes_join(tmp_path: Path) -> None:
    """a = b and d = e by pairs, b is also c's partner, f differs from all; the second b is the same image as the first.

    By hand: {a, b, c} through b's copy, {d, e}, {f}, {g}, numbered by first occurrence.
    """
    images = [b"f", b"d", b"a", b"b", b"d", b"e", b"c", b"b", b"g", b"a"]
    write_bin(tmp_path / "set.bin", images, [False, True, True, True, False])
    content = read_bin(tmp_path / "set.bin")
    assert isinstance(content, FaceDataset)
    assert content.labels.tolist() == [0, 1, 2, 2, 1, 1, 2, 2, 3, 2]
    assert content.labels.dtype == np.int64
    assert content.identities == ["person_000001", "person_000002", "person_000003", "person_000004"]
    assert content.fingerprint == content.sha256
    assert content.encoded(5) == b"e"


def test_a_long_chain_of_pairs_is_one_identity(tmp_path: Path) -> None:
    chain = [b"%d" % number * 60 for link in range(5000) for number in (link + 1, link)]
    write_bin(tmp_path / "set.bin", chain, [True] * 5000)
    assert read_bin(tmp_path / "set.bin").identities == ["person_000001"]


def test_sending_it_to_a_worker_is_cheap_and_notices_another_file(tmp_path: Path) -> None:
    write_bin(tmp_path / "set.bin", [bytes(100_000), b"b"], [True])
    content = read_bin(tmp_path / "set.bin")
    sent = pickle.dumps(content)
    assert len(sent) < 1000
    assert pickle.loads(sent).images == content.images
    write_bin(tmp_path / "set.bin", [b"a", b"b"], [True])
    with pytest.raises(DataError, match="has changed since it was opened"):
        pickle.loads(sent)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bin(tmp_path / "set.bin", [b"a", b"b"], [True])
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bin(tmp_path / "set.bin", [b"c", b"d"], [True])
    assert read_bin(tmp_path / "set.bin").images == [b"a", b"b"]


class MeanPatches:
    """Embeds a crop as the mean colours of its 16 patches, less mid-grey."""

    name = "patches"
    fingerprint = "9" * 64
    embedding_size = 48
    preprocessing = Preprocessing(size=64)

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        patches = images.reshape(len(images), 4, 16, 4, 16, 3).mean(axis=(2, 4), dtype=np.float64)
        return (patches.reshape(len(images), -1) - 127.5).astype(np.float32)


def test_the_same_accuracy_as_from_the_folder(faces: Path, tmp_path: Path) -> None:
    """A pair list over a folder, and the `.bin` made of it, give the same figures to the last bit."""
    dataset = FolderDataset(faces)
    rng = np.random.default_rng(3)
    genuine = [(6 * person + one, 6 * person + two) for person in range(8) for one, two in ((0, 1), (2, 3), (4, 5))]
    impostor = [(one, int(rng.integers(6 * ((one // 6 + 1) % 8), 6 * ((one // 6 + 1) % 8) + 6))) for one in range(24)]
    pairs = [pair for couple in zip(genuine, impostor, strict=True) for pair in couple]
    folds = contiguous_folds(48)
    lines = [
        f"{dataset.key(one)},{dataset.key(two)},{1 - number % 2},{folds[number]}"
        for number, (one, two) in enumerate(pairs)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["path_a,path_b,same,fold", *lines]) + "\n")
    write_bin(tmp_path / "set.bin", [dataset.encoded(index) for pair in pairs for index in pair], [True, False] * 24)

    listed = load_pair_list(tmp_path / "pairs.csv", dataset)
    written = load_bin_benchmark(tmp_path / "set.bin")
    results = [evaluate_verification(MeanPatches(), benchmark) for benchmark in (listed, written)]
    assert results[0].pairs == results[1].pairs == 48
    assert 0.5 < results[0].roc.area < 1
    assert results[0].roc.area == results[1].roc.area
    assert results[0].folds == results[1].folds
