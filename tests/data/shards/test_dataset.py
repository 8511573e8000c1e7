from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.shards.dataset import ShardDataset
from facedistill.data.shards.paths import expand_braces
from facedistill.errors import DataError

webdataset = pytest.importorskip("webdataset")


def block(name: bytes, content: bytes, *, kind: bytes = b"0", size: bytes | None = None, prefix: bytes = b"") -> bytes:
    """A ustar member, laid out by hand after POSIX.1-1988: name, mode, owner, size, time, sum, type, magic, prefix."""
    header = bytearray(512)
    header[0 : len(name)] = name
    header[100:108] = b"0000644\0"
    header[108:116] = header[116:124] = b"0001750\0"
    header[124:136] = size or b"%011o\0" % len(content)
    header[136:148] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[257:265] = b"ustar\x0000"
    header[345 : 345 + len(prefix)] = prefix
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def tar(path: Path, members: Iterable[tuple[str, bytes]], end: bytes = bytes(1024)) -> Path:
    path.write_bytes(b"".join(block(name.encode(), content) for name, content in members) + end)
    return path


def picture(value: int) -> bytes:
    return cv2.imencode(".png", np.full((4, 4, 3), value, dtype=np.uint8))[1].tobytes()


def contents(dataset: ShardDataset) -> list[tuple[str, bytes, str]]:
    names = [dataset.identities[label] for label in dataset.labels]
    return [(dataset.key(index), dataset.encoded(index), names[index]) for index in range(len(dataset))]


def test_tars_laid_out_by_hand(tmp_path: Path) -> None:
    tar(tmp_path / "b.tar", [("5.jpg", b"five"), ("5.cls", b"7\n"), ("6.cls", b"11"), ("6.PNG", picture(9))])
    tar(
        tmp_path / "a.tar",
        [("x/3.json", b"{}"), ("x/3.jpeg", b"three"), ("x/3.cls", b"11"), ("4.webp", b""), ("4.cls", b"007")],
    )
    dataset = ShardDataset(tmp_path)
    assert isinstance(dataset, FaceDataset)
    assert contents(dataset) == [
        ("x/3.jpeg", b"three", "11"),
        ("4.webp", b"", "7"),
        ("5.jpg", b"five", "7"),
        ("6.PNG", picture(9), "11"),
    ]
    assert dataset.labels.tolist() == [1, 0, 0, 1], "by number: 7 is before 11"
    assert dataset.shards.tolist() == [0, 0, 1, 1]
    assert dataset.labels.dtype == dataset.shards.dtype == np.int64
    assert dataset.image(3).tolist() == np.full((4, 4, 3), 9).tolist()
    assert dataset.key(-1) == "6.PNG"
    with pytest.raises(DataError, match=r"b\.tar, 5\.jpg: the image is corrupt"):
        dataset.image(2)


def test_names_and_types_of_every_kind(tmp_path: Path) -> None:
    long = b"folder/" * 30 + b"7.jpg"
    pax = b"".join(b"%d path=%s\n" % (len(name) + 9, name) for name in [b"p/\xc3\xa4.jpg"])
    assert int(pax.split()[0]) == len(pax)
    members = [
        block(b"ignored/", b"", kind=b"5"),
        block(b"link.jpg", b"", kind=b"2", size=b"00000000700\0"),
        block(b"1.jpg", b"one", prefix=b"some/where"),
        block(b"old/2.jpg", b"two", kind=b"\0"),
        block(b"././@LongLink", long + b"\0", kind=b"L") + block(long[:100], b"three"),
        block(b"x", pax, kind=b"x") + block(b"wrong.jpg", b"four"),
        block(b"x", b"10 size=4\n", kind=b"x") + block(b"s/5.jpg", b"five", size=b"00000000000\0"),
        block(b"g", b"18 comment=global\n", kind=b"g"),
        block(b"b/6.jpg", b"six", size=b"\x80" + (3).to_bytes(11, "big")),
        block(b"odd", b"x" * 600, kind=b"Z"),
        block(b"./d.o.t/7.jpg", b"seven"),
        block(b"README.md", b"text") + block(b"LICENSE", b"text") + block(b"b/._6.jpg", b"") + block(b"__x__", b""),
    ]  # fmt: skip
    path = tmp_path / "a.tar"
    path.write_bytes(b"".join(members) + bytes(512) + b"what is behind the end")
    dataset = ShardDataset(path)
    assert [dataset.key(index) for index in range(len(dataset))] == [
        "some/where/1.jpg", "old/2.jpg", long.decode(), "p/\xe4.jpg", "s/5.jpg", "b/6.jpg", "d.o.t/7.jpg",
    ]  # fmt: skip
    assert [dataset.encoded(index) for index in range(7)] == [
        b"one",
        b"two",
        b"three",
        b"four",
        b"five",
        b"six",
        b"seven",
    ]
    # The library of Python, which webdataset reads with, sees the same.
    with tarfile.open(path) as archive:
        expected = {member.name.removeprefix("./"): member for member in archive if member.isreg()}
        for index in range(7):
            assert archive.extractfile(expected[dataset.key(index)]).read() == dataset.encoded(index)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_pythons_tarfile_writes(tmp_path: Path, form: int) -> None:
    names = ["a/1.jpg", f"{'l' * 90}/{'m' * 90}.jpg"]
    names += ["\xe4\u20ac/2.jpg", f"{'n' * 200}/\u6f22.jpg", f"deep/{'o/' * 400}3.jpg"] if form else []
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 5, 0.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(member, io.BytesIO(b"img%02d" % number))
    dataset = ShardDataset(tmp_path / "a.tar")
    assert [(key, content) for key, content, _ in contents(dataset)] == [
        (name, b"img%02d" % number) for number, name in enumerate(names)
    ]
    assert dataset.identities == sorted(name.rpartition("/")[0] for name in names)


def test_what_webdataset_writes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    expected = []
    with webdataset.ShardWriter(str(tmp_path / "faces-%03d.tar"), maxcount=5, verbose=0) as sink:
        for number in range(13):
            content = rng.bytes(int(rng.integers(1, 2000)))
            sink.write({"__key__": f"p{number % 3}/{number:04d}", "jpg": content, "cls": 10 * (number % 3)})
            expected.append((f"p{number % 3}/{number:04d}.jpg", content, f"p{number % 3}"))
    dataset = ShardDataset(str(tmp_path / "faces-{000..002}.tar"))
    assert contents(dataset) == expected
    assert dataset.shards.tolist() == [0] * 5 + [1] * 5 + [2] * 3


def test_the_sources_of_labels(tmp_path: Path) -> None:
    def names(*members: tuple[str, bytes]) -> list[str]:
        dataset = ShardDataset(tar(tmp_path / "a.tar", members))
        return [dataset.identities[label] for label in dataset.labels]

    def labelled(name: str, **content: object) -> list[tuple[str, bytes]]:
        return [(f"{name}.jpg", b""), (f"{name}.json", json.dumps(content).encode())]

    # Folders alone.
    assert names(("bo/1.jpg", b""), ("ann/2.jpg", b""), ("bo/3.jpg", b"")) == ["bo", "ann", "bo"]
    # Folders that belong to labels one to one, and folders that do not.
    assert names(("bo/1.jpg", b""), ("bo/1.cls", b"3"), ("ann/2.jpg", b""), ("ann/2.cls", b"4")) == ["bo", "ann"]
    assert names(("bo/1.jpg", b""), ("bo/1.cls", b"3"), ("bo/2.jpg", b""), ("bo/2.cls", b"4")) == ["3", "4"]
    assert names(("bo/1.jpg", b""), ("bo/1.cls", b"3"), ("ann/2.jpg", b""), ("ann/2.cls", b"3")) == ["3", "3"]
    assert names(("1.jpg", b""), ("1.cls", b"3")) == ["3"]
    # JSON: numbers, texts, either name, and other entries left alone.
    assert names(*labelled("1", label=3, size=[1]), *labelled("2", label=20)) == ["3", "20"]
    assert names(*labelled("1", identity="ann"), *labelled("2", identity="bo")) == ["ann", "bo"]
    assert names(*labelled("1", label=5, identity="ann")) == ["5"]
    assert names(*labelled("ann/1", size=3)) == ["ann"]
    assert names(("1.json", b'{"label": 1}'), ("1.jpg", b""), ("1.cls", b"2")) == ["2"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "holds no images"),
        ([("a.txt", b"")], "holds no images"),
        ([("1.jpg", b"")], r"sample '1\.jpg' has neither a label nor a folder"),
        ([("a/1.jpg", b""), ("2.jpg", b"")], r"sample '2\.jpg' has neither"),
        ([("a/1.jpg", b""), ("a/1.cls", b"1"), ("a/2.jpg", b"")], r"sample 'a/2\.jpg' has no label, while others"),
        ([("1.jpg", b""), ("1.cls", b"one")], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.cls", b"-1")], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.cls", b"1" * 20)], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.cls", b" " * 100 + b"1")], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b"{")], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b"[" * 60_000)], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b'{"label": 1.5}')], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b'{"label": true}')], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b'{"label": ""}')], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.json", b'{"x": "%s"}' % (b"x" * 70_000))], "label of the sample '1' cannot be read"),
        ([("1.jpg", b""), ("1.png", b"")], r"sample '1' has two images, \.jpg and \.png"),
        ([("1.jpg", b""), ("1.jpg", b"")], "sample '1' occurs twice"),
        ([("a/1.jpg", b""), ("a/2.jpg", b""), ("a/1.jpg", b"")], "sample 'a/1' occurs twice"),
        ([("a/1.jpg", b""), ("a/2.jpg", b""), ("a/1.json", b"{}")], "'a/1' occurs twice, or its members do not follow"),
        ([("1.jpg", b""), ("2.jpg", b""), ("1.cls", b"1"), ("2.cls", b"1")], "sample '1' has a label and no image"),
        ([("../x/1.jpg", b"")], r"'\.\./x/1' has a name that leads out of the data set\. Write the tar again"),
        ([("/x/1.jpg", b"")], "'/x/1' has a name that leads out of the data set\\. Write the tar again"),
        ([("\x1b[2J/1.jpg", b""), ("2.jpg", b"")], r"sample '2\.jpg'"),
        ([("\x1b[2J.jpg", b"")], r"sample '\\x1b\[2J\.jpg'"),
    ],
)
def test_what_is_no_sample(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ShardDataset(tar(tmp_path / "a.tar", members))
    assert str(tmp_path / "a.tar") in caught.value.place
    assert caught.value.cause.isprintable()


def test_a_sample_in_two_tars(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", [("p/1.jpg", b"")])
    tar(tmp_path / "b.tar", [("p/1.json", b"{}")])
    with pytest.raises(DataError, match=r"sample 'p/1' occurs twice here and in .*b\.tar"):
        ShardDataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * 2000, "is no tar file"),
        (b"x" * 100, "ends in the middle of a header, at byte 0"),
        (block(b"a/1.jpg", b"content") + b"rest", "ends in the middle of a header, at byte 1,024"),
        (block(b"a/1.jpg", b"x" * 600)[:1100], "a member of 600 bytes where 588 are left, at byte 0"),
        (block(b"a/1.jpg", b"x") + block(b"a/2.jpg", b"x").replace(b"a/2", b"a/3"), "checksum is wrong, at byte 1,024"),
        (block(b"a/1.jpg", b"", size=b"-0000000001\0"), "a number that is none"),
        (block(b"a/1.jpg", b"", size=b"\xff" * 12), "a number that is none"),
        (block(b"a/1.jpg", b"", size=b"\x80" + b"\xff" * 11), "a member of .* where 0 are left"),
        (block(b"a/1.jpg", b"", size=b"77777777777\0"), "a member of 8,589,934,591 bytes where 0 are left"),
        (block(b"x", b"11 size=-1\n", kind=b"x") + block(b"a/1.jpg", b""), "a pax size that is no number"),
        (block(b"x", b"30 size=99999999999999999999\n", kind=b"x") + block(b"a", b""), "pax"),
        (block(b"x", b"99 size=1\n", kind=b"x") + block(b"a/1.jpg", b""), "pax records that are none"),
        (block(b"x", b"0 size=1\n", kind=b"x") + block(b"a/1.jpg", b""), "pax records that are none"),
        (block(b"x", b"3 a=b\n", kind=b"x") + block(b"a/1.jpg", b""), "pax records that are none"),
        (block(b"x", b"22 GNU.sparse.major=1\n", kind=b"x") + block(b"a/1.jpg", b""), "a sparse file"),
        (block(b"a/1.jpg", b"", kind=b"S"), "a sparse file"),
        (block(b"n", bytes(1 << 21), kind=b"L"), "a name of 2,097,152 bytes"),
        (block(b"n", b"", kind=b"L") * 3000, "a long name without its member"),
        (block(b"x", b"12 path=a/b\n", kind=b"x") + bytes(1024), "a long name without its member"),
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00" + bytes(600), r"is compressed.*gunzip"),
        (b"BZh9" + bytes(600), r"is compressed.*bunzip2"),
        (b"\xfd7zXZ\x00" + bytes(600), r"is compressed.*unxz"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), r"is compressed.*unzstd"),
    ],
)  # fmt: skip
def test_damaged_tars(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        ShardDataset(tmp_path / "a.tar")
    assert caught.value.place == str(tmp_path / "a.tar")


def test_signed_checksums_of_old_tars(tmp_path: Path) -> None:
    member = bytearray(block("\xe4/1.jpg".encode(), b"content"))
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(value - 256 if value > 127 else value for value in member[:512])
    (tmp_path / "a.tar").write_bytes(member)
    assert ShardDataset(tmp_path / "a.tar").identities == ["\xe4"]


def test_braces() -> None:
    assert expand_braces("f-{08..11}.tar") == ["f-08.tar", "f-09.tar", "f-10.tar", "f-11.tar"]
    assert expand_braces("f-{8..10}.tar") == ["f-8.tar", "f-9.tar", "f-10.tar"]
    assert expand_braces("{0..1}/f-{000..001}.tar") == ["0/f-000.tar", "0/f-001.tar", "1/f-000.tar", "1/f-001.tar"]
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    for text in ("f-{08..11}.tar", "f-{8..10}.tar", "{0..1}/f-{000..012}.tar", "{7..7}"):
        assert expand_braces(text) == list(braceexpand(text))
    for text in ("{2..1}", "{0..999999}", "{0..99999}{0..99999}", f"{{0..{'9' * 5000}}}"):
        with pytest.raises(DataError, match="is not one of 1 to 100,000 files"):
            expand_braces(text)


def test_sources(tmp_path: Path) -> None:
    for name in ("f-1.tar", "f-0.tar", "other.TAR"):
        tar(tmp_path / name, [(f"p/{name[:-4]}.jpg", b"")])
    (tmp_path / ".f-2.tar").write_bytes(b"hidden")
    assert [path.name for path in ShardDataset(tmp_path).paths] == ["f-0.tar", "f-1.tar", "other.TAR"]
    assert len(ShardDataset([tmp_path / "f-1.tar", tmp_path / "f-0.tar"])) == 2
    assert len(ShardDataset(tmp_path / "f-{0..1}.tar")) == 2
    with pytest.raises(DataError, match=r"cannot be read \(No such file") as caught:
        ShardDataset(tmp_path / "f-{0..3}.tar")
    assert caught.value.place == str(tmp_path / "f-2.tar")
    with pytest.raises(DataError, match="given twice"):
        ShardDataset([tmp_path / "f-1.tar", tmp_path])
    with pytest.raises(DataError, match="no tar file is given"):
        ShardDataset([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.tar files"):
        ShardDataset(tmp_path / "empty")
    (tmp_path / "empty" / "a.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.tar\.gz: the tar file is compressed"):
        ShardDataset(tmp_path / "empty")


def test_threads_and_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than files that may be open: none reads from a file that another has closed."""
    monkeypatch.setattr("facedistill.data.shards.files.MOST_OPEN", 2)
    rng = np.random.default_rng(5)
    images = [[rng.bytes(int(rng.integers(1, 3000))) for _ in range(20)] for _ in range(8)]
    for shard, inside in enumerate(images):
        tar(tmp_path / f"{shard}.tar", [(f"p/{shard}-{number}.jpg", image) for number, image in enumerate(inside)])
    dataset = ShardDataset(tmp_path)
    expected = [image for inside in images for image in inside]
    order = rng.integers(len(dataset), size=3000).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(dataset.encoded, order)) == [expected[index] for index in order]
    sent = pickle.dumps(dataset)
    assert len(sent) < 70 * len(dataset) + 4000
    received = pickle.loads(sent)
    assert [received.encoded(index) for index in range(len(received))] == expected
    assert received.fingerprint == dataset.fingerprint


def test_a_tar_that_shrinks_or_goes(tmp_path: Path) -> None:
    dataset = ShardDataset(tar(tmp_path / "a.tar", [("p/1.jpg", b"x" * 900), ("p/2.jpg", b"y")]))
    (tmp_path / "a.tar").write_bytes(b"x" * 600)
    with pytest.raises(DataError, match="shorter than it was"):
        dataset.encoded(0)
    (tmp_path / "a.tar").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        pickle.loads(pickle.dumps(dataset)).encoded(1)


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    def of(*members: tuple[str, bytes]) -> str:
        return ShardDataset(tar(tmp_path / "a.tar", members)).fingerprint

    first = of(("a/1.jpg", b"x"), ("b/2.jpg", b"y"))
    assert first == of(("a/1.jpg", b"x"), ("b/2.jpg", b"y"), ("notes.txt", b"no part of it"))
    assert len({first, of(("b/2.jpg", b"y"), ("a/1.jpg", b"x")), of(("a/1.jpg", b"xx"), ("b/2.jpg", b"y"))}) == 3
    assert first != of(("a/1.jpg", b"x"), ("b/3.jpg", b"y"))
