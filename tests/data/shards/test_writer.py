from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.folder import FolderDataset
from facedistill.data.shards.dataset import ShardDataset
from facedistill.data.shards.key import image_key, sample_of, split_name
from facedistill.data.shards.scan import scan_shards
from facedistill.data.shards.writer import write_shards
from facedistill.errors import DataError, UsageError

webdataset = pytest.importorskip("webdataset")


class Made:
    """Images of made-up bytes under given keys; a label for each folder, or as given."""

    fingerprint = "0" * 64

    def __init__(self, keys: list[str], labels: list[int] | None = None, size: int = 700) -> None:
        self.keys = keys
        folders = sorted({key.rpartition("/")[0] for key in keys})
        self.labels = np.array(labels or [folders.index(key.rpartition("/")[0]) for key in keys])
        self.identities = [f"name {label}" for label in range(self.labels.max() + 1)]
        self.size = size

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def encoded(self, index: int) -> bytes:
        return np.random.default_rng(index).bytes(self.size + index)


def by_webdataset(paths: list[Path]) -> list[dict[str, Any]]:
    return list(webdataset.WebDataset([str(path) for path in paths], shardshuffle=False))


def test_a_folder_comes_back_from_shards(faces: Path, tmp_path: Path) -> None:
    folder = FolderDataset(faces)
    seen: list[tuple[int, int]] = []
    paths = write_shards(folder, tmp_path, shard_images=20, progress=lambda *done: seen.append(done))
    assert [path.name for path in paths] == ["faces-000000.tar", "faces-000001.tar", "faces-000002.tar"]
    assert seen[0] == (1, 48)
    assert seen[-1] == (48, 48)
    read = ShardDataset(tmp_path)
    assert read.identities == folder.identities
    assert read.labels.tolist() == folder.labels.tolist()
    assert read.shards.tolist() == [0] * 20 + [1] * 20 + [2] * 8
    for index in range(48):
        assert read.key(index) == folder.key(index)
        assert read.encoded(index) == folder.encoded(index)
        assert np.array_equal(read.image(index), folder.image(index))


def test_webdataset_reads_what_is_written(tmp_path: Path) -> None:
    keys = ["ann/1.jpg", "ann/a.b.JPG", "bo.b/1.png", f"{'c' * 120}/{'d' * 120}.jpeg", "\xe4\u6f22/%2E.jpg", "ann/none"]
    made = Made(keys)
    samples = by_webdataset(write_shards(made, tmp_path, shard_images=4))
    names = ["ann/1", "ann/a%2Eb", "bo.b/1", f"{'c' * 120}/{'d' * 120}", "\xe4\u6f22/%252E", "ann/none"]
    assert [sample["__key__"] for sample in samples] == names
    types = ["jpg", "jpg", "png", "jpeg", "jpg", "jpg"]
    for index, (sample, kind) in enumerate(zip(samples, types, strict=True)):
        assert sample[kind] == made.encoded(index)
        assert sample["cls"] == b"%d" % made.labels[index]
    read = ShardDataset(tmp_path)
    assert [read.key(index) for index in range(5)] == keys[:5]
    assert read.key(5) == "ann/none.jpg"


def test_the_size_of_shards(tmp_path: Path) -> None:
    """A sample takes 512 + 1024 (image of 700 to 709 bytes) + 512 + 512 = 2,560 bytes; the end 1,024."""
    made = Made([f"p/{number}.jpg" for number in range(10)])
    for limit, count in ((2560 * 3 + 1024, 3), (2560 * 3 + 1023, 2), (1, 1), (10**9, 10)):
        paths = write_shards(made, tmp_path / str(limit), shard_bytes=limit)
        assert [len(by_webdataset([path])) for path in paths[:-1]] == [count] * (len(paths) - 1)
        assert len(by_webdataset(paths)) == 10
        assert all(path.stat().st_size % 10240 == 0 for path in paths)
    with pytest.raises(UsageError, match="at least 1"):
        write_shards(made, tmp_path / "new", shard_bytes=0)


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    made = Made(["b/1.jpg", "a/2.jpg"])
    first, second = write_shards(made, tmp_path / "1") + write_shards(made, tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "1" / "index.safetensors").read_bytes() == (tmp_path / "2" / "index.safetensors").read_bytes()
    with tarfile.open(first) as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            assert (member.uname, member.gname) == ("", "")


def test_an_interruption_leaves_no_tar(tmp_path: Path) -> None:
    made = Made([f"p/{number}.jpg" for number in range(10)])

    def interrupt(done: int, _: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(made, tmp_path, shard_images=3, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    write_shards(made, tmp_path, shard_images=3)
    with pytest.raises(UsageError, match=r"holds faces-000000\.tar already"):
        write_shards(made, tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["a/1.jpg", "a/1.jpg"], "two images have the key 'a/1.jpg'"),
        (["a/1.jpg", "a/1.png", "a/1.png.jpg"], "two images have the key"),
        (["../1.jpg"], "leads out of the data set"),
        (["a/"], "is no name of a file"),
    ],
)
def test_keys_that_cannot_be_names(tmp_path: Path, keys: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write_shards(Made(keys), tmp_path)
    assert caught.value.place == str(tmp_path)
    assert "onvert to a folder first, which gives" in str(caught.value.next_step)
    assert list(tmp_path.iterdir()) == []


def test_an_image_without_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/1\.jpg: the image is empty \(0 bytes\)"):
        write_shards(Made(["a/1.jpg"], size=0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_differ_in_their_suffix_alone(tmp_path: Path) -> None:
    keys = ["a/1.jpg", "a/1.png", "a/2.jpg", "b/3.jpg.jpg", "b/.jpg"]
    write_shards(Made(keys), tmp_path)
    read = ShardDataset(tmp_path)
    assert [read.key(index) for index in range(4)] == keys[:4]


NAMES = st.text(st.sampled_from("a.%2E5/j"), min_size=1, max_size=12).filter(
    lambda name: all(part not in ("", ".", "..") for part in name.split("/"))
)


@given(NAMES, st.sampled_from([".jpg", ".JPG", ".png"]), st.booleans())
def test_names_come_back(stem: str, suffix: str, whole: bool) -> None:
    key = stem + suffix
    sample = sample_of(key, suffix, whole=whole)
    assert split_name(sample + suffix) == (sample, suffix[1:].lower())
    assert image_key(sample, suffix[1:]) == key


def test_labels_without_folders_and_in_any_order(tmp_path: Path) -> None:
    made = Made([f"set.bin[{number}]" for number in range(12)], labels=[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    write_shards(made, tmp_path)
    read = ShardDataset(tmp_path)
    assert read.labels.tolist() == made.labels.tolist()
    assert read.identities == [str(label) for label in range(12)]
    assert read.key(3) == "set.bin[3].jpg"


def test_the_index_file_says_what_a_scan_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"p{number % 7}/{number}.{'a.' * (number % 3)}jpg" for number in range(50)] + [f"{'l' * 120}/1.jpg"]
    paths = write_shards(Made(keys), tmp_path, shard_images=7)
    scanned = scan_shards(paths)
    with monkeypatch.context() as patch:
        patch.setattr("facedistill.data.shards.dataset.scan_shards", lambda *_, **__: pytest.fail("it was scanned"))
        read = ShardDataset(tmp_path)
        assert len(ShardDataset(f"{tmp_path}/faces-{{000000..000007}}.tar")) == 51
    assert read.fingerprint == scanned.fingerprint()
    assert read.identities == scanned.identities
    for name in ("shards", "offsets", "lengths", "labels", "key_ends", "key_text"):
        assert np.array_equal(getattr(read._index, name), getattr(scanned, name))
    assert len(ShardDataset(paths[:3])) == 21, "fewer tars than the index knows"


def test_an_index_that_does_not_fit_is_not_used(tmp_path: Path) -> None:
    paths = write_shards(Made([f"p/{number}.jpg" for number in range(6)]), tmp_path, shard_images=3)
    index = (tmp_path / "index.safetensors").read_bytes()
    good = paths[1].read_bytes()
    paths[1].write_bytes(good.replace(b"p/4.", b"q/4."))  # checksums are wrong now, so a scan notices
    with pytest.raises(DataError, match="checksum is wrong"):
        ShardDataset(tmp_path)
    paths[1].write_bytes(good + bytes(10240))
    assert len(ShardDataset(tmp_path)) == 6
    paths[1].write_bytes(good)
    rng = np.random.default_rng(0)
    for _ in range(100):
        changed = bytearray(index)
        changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
        (tmp_path / "index.safetensors").write_bytes(changed)
        try:
            read = ShardDataset(tmp_path)
        except DataError:
            continue
        assert len(read) == 6
        for number in range(6):
            read.key(number)
            read.encoded(number)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offsets", [512, 10**9]),
        ("offsets", [-1, 512]),
        ("lengths", [2**62, 1]),
        ("lengths", [-1, 1]),
        ("shards", [0, 1]),
        ("shards", [0]),
        ("labels", [0, 7]),
        ("labels", [0, 0]),
        ("key_ends", [9, 3]),
        ("key_ends", [3, 4]),
    ],
)
def test_an_index_that_does_not_hold_together_is_not_used(tmp_path: Path, name: str, value: list[int]) -> None:
    write_shards(Made(["p/1.jpg", "q/2.jpg"]), tmp_path)
    path = tmp_path / "index.safetensors"
    with safetensors.safe_open(path, framework="numpy") as stream:
        arrays = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - it is no dict
        metadata = stream.metadata()
    assert len(json.loads(metadata["facedistill shard index 1"])["tars"]) == 1
    arrays[name] = np.array(value, dtype=np.int64)
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    read = ShardDataset(tmp_path)
    assert [read.key(index) for index in range(2)] == ["p/1.jpg", "q/2.jpg"]
    assert read.labels.tolist() == [0, 1]
    assert [len(read.encoded(index)) for index in range(2)] == [700, 701]
