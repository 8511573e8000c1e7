"""Mutated tars: an error of ours or what Python's tarfile finds, in little time and memory."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from facedistill.data.shards.index import ShardIndex
from facedistill.data.shards.scan import scan_shards
from facedistill.errors import DataError

MUTATIONS = 700
MEGABYTE = 1 << 20
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


class OpenTar(type(Path())):  # type: ignore[misc]
    """A path whose file stays open: opening thousands of files is what would take the time."""

    descriptor = -1

    def open(self, *_: object, **__: object) -> OpenTar:
        return self

    def fileno(self) -> int:
        return self.descriptor

    def __enter__(self) -> OpenTar:
        return self

    def __exit__(self, *_: type | BaseException | TracebackType | None) -> None:
        pass


@pytest.fixture
def open_tar(tmp_path: Path) -> Iterator[OpenTar]:
    path = OpenTar(tmp_path / "a.tar")
    OpenTar.descriptor = os.open(tmp_path / "a.tar", os.O_RDWR | os.O_CREAT)
    yield path
    os.close(OpenTar.descriptor)


def written(form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for number in range(6):
            folder = f"person-{number // 2}" + "/deep" * (30 * (number % 2) if form else 0)
            for kind, content in (
                ("jpg", b"x" * (100 * number)),
                ("cls", b"%d" % (number // 2)),
                ("json", b'{"label": 3}'),
            ):
                member = tarfile.TarInfo(f"{folder}/{number}.{kind}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    content = stream.getvalue().rstrip(b"\0")
    return content + bytes(-len(content) % 512 + 1024)


def check_sums(content: bytearray) -> None:
    """Set the checksums of all blocks that look like headers, so that mutations get past them."""
    for start in range(0, len(content) - 511, 512):
        if content[start + 257 : start + 262] == b"ustar":
            content[start + 148 : start + 156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes in headers mostly: bytes, digits of sizes, kinds; blocks left out, repeated, cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        block = 512 * int(rng.integers(max(len(changed) // 512, 1)))
        match int(rng.integers(8)):
            case 0:
                at = int(rng.integers(len(changed) + 1))
                changed[at : at + 1] = rng.bytes(1)
            case 1:
                at = block + 124 + int(rng.integers(12))
                changed[at : at + 1] = bytes([b"01234567\0 -\x80\xff"[rng.integers(13)]])
            case 2:
                changed[block + 156 : block + 157] = bytes([b"0123456789LKxgXSDVA\0"[rng.integers(20)]])
            case 3:
                del changed[block : block + 512]
            case 4:
                changed[block:block] = changed[block : block + 512 * int(rng.integers(1, 4))]
            case 5:
                at = block + int(rng.integers(100))
                changed[at : at + 1] = bytes([b"./\0a%0= 9\n\xe4"[rng.integers(11)]])
            case 6:
                changed[block + 124 : block + 136] = b"\x80" + rng.bytes(11)
            case 7 if rng.random() < 0.2:
                del changed[int(rng.integers(len(changed) + 1)) :]
        if len(changed) < 512:
            changed = bytearray(512)
    if rng.random() < 0.8:
        check_sums(changed)
    return bytes(changed)


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_tars(open_tar: OpenTar, name: str) -> None:
    rng = np.random.default_rng(len(name))
    seed = written(FORMATS[name])
    read = compared = 0
    for round_ in range(-50, MUTATIONS):
        content = mutated(seed, rng)
        os.ftruncate(open_tar.descriptor, 0)
        os.pwrite(open_tar.descriptor, content, 0)
        # At first modules are imported and patterns compiled, which does not count.
        index = attempt(open_tar, 4 * len(content) + MEGABYTE * (1 if round_ >= 0 else 100))
        if index is not None:
            read += 1
            compared += compare(index, content)
    assert MUTATIONS > read > MUTATIONS // 50, "every change or none was noticed: the mutations are no test"
    assert compared > 4 * read


def attempt(path: OpenTar, memory: int) -> ShardIndex | None:
    tracemalloc.start()
    started = time.process_time()
    try:
        index = scan_shards([path])
    except DataError:
        index = None
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 2
    assert peak <= memory
    return index


def compare(index: ShardIndex, content: bytes) -> int:
    """Every image is a member that tarfile finds too, with the same name and size; returns how many were compared.

    tarfile stops, or fails, at a header whose time or owner is no number, which is nothing to us; images behind it
    cannot be compared. It also wants the padding of a last member whose content is whole.
    """
    found = {}
    with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(content + bytes(512))) as archive:
        for member in archive:
            found[member.offset_data] = member
    compared = 0
    for image in range(len(index)):
        offset, length = int(index.offsets[image]), int(index.lengths[image])
        assert 0 <= offset <= offset + length <= len(content)
        if offset <= max(found, default=-1):
            member = found[offset]
            compared += 1
            assert member.isreg()
            assert member.size == length
            assert index.key(image) == member.name.removeprefix("./").replace("%2E", ".").replace("%25", "%")
    assert len(index.identities) == index.labels.max() + 1
    return compared


@pytest.mark.parametrize("form", FORMATS.values())
def test_the_tars_are_good_before_they_are_mutated(open_tar: OpenTar, form: int) -> None:
    os.pwrite(open_tar.descriptor, written(form), 0)
    index = scan_shards([open_tar])
    assert index.lengths.tolist() == [0, 100, 200, 300, 400, 500]
    assert compare(index, written(form)) == 6
