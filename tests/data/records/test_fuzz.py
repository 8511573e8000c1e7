"""Damaged `.rec` and `.idx` files: an error of ours or a correct image, in little time and little memory."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from facedistill.data.images import decode_image
from facedistill.data.records.dataset import RecDataset
from facedistill.errors import DataError

from .rec_files import MAGIC, insightface, payload, png, write

ROUNDS = 400
# Looking at the memory makes a round several times as long, so only the others are timed.
ROUNDS_TO_A_MEASUREMENT = 10
# Of processor time, which other work on the machine does not stretch.
SECONDS = 2.0
# The objects that hold a data set together, and messages; what grows with the file is 4 times it at most.
FIXED_BYTES = 64 * 1024
EXTREMES = (0, 1, 3, 4, 8, 23, 24, 2**24, 2**29 - 1, 2**29, 2**31, 2**32 - 4, 2**32 - 1, 0xCED7230A, 0x7FC00000)


def flip(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def replace(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] = draw.choice(b"0123456789\t\n\r -\xff\0")


def truncate(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def remove(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    del content[start : start + draw.choice((1, 4, 8, 40))]


def insert(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    content[start:start] = draw.choice((MAGIC, bytes(4), b"\t", b"\n", b"9" * 30, draw.randbytes(5)))


def repeat(content: bytearray, draw: random.Random) -> None:
    start, end = sorted(draw.randrange(len(content)) for _ in range(2))
    content[start:start] = content[start:end]


def extreme(content: bytearray, draw: random.Random) -> None:
    """A word near the beginning of a record: its length, flag, label or id."""
    begins = [at for at in range(0, len(content) - 40, 4) if content[at : at + 4] == MAGIC]
    at = draw.choice(begins or [0]) + 4 * draw.randrange(1, 10)
    content[at : at + 4] = struct.pack("<I", draw.choice(EXTREMES))


Mutation = Callable[[bytearray, random.Random], None]
MUTATIONS: list[Mutation] = [flip, replace, truncate, remove, insert, repeat]


def damage(content: bytearray, draw: random.Random, mutations: Sequence[Mutation]) -> None:
    """One mutation most times, else some."""
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        if content:
            draw.choice(mutations)(content, draw)


# Multi-part records, arrays of labels, both layouts.
PLAIN = {key: payload(key, [key // 2], png(key) + (MAGIC if key % 3 == 0 else b"")) for key in range(8)}
ORIGINALS = {"insightface": insightface([2, 3, 1]), "array": insightface([3, 2], array=True), "plain": PLAIN}


def read_all(path: Path) -> list[tuple[bytes, str]]:
    """Image bytes and name of every image that can be read; each attempt is decoded too."""
    dataset = RecDataset(path, note=lambda _: None)
    found = []
    for index in range(len(dataset)):
        dataset.key(index)
        try:
            encoded = dataset.encoded(index)
            decode_image(encoded, place=path)
        except DataError:
            continue
        found.append((encoded, dataset.identities[dataset.labels[index]]))
    return found


def checked(path: Path, size: int, *, memory: bool) -> list[tuple[bytes, str]]:
    """`read_all` within the limits; the memory is what Python and numpy allocate at most, by tracemalloc."""
    found = []
    message = str(path.parent)
    if memory:
        tracemalloc.start()
    started = time.process_time()
    try:
        found = read_all(path)
    except DataError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert memory or time.process_time() - started < SECONDS
    assert peak < 4 * size + FIXED_BYTES
    assert str(path.parent) in message
    return found


@pytest.mark.parametrize("layout", ORIGINALS)
@pytest.mark.parametrize("damaged", ["rec", "rec scanned", "idx"])
def test_damaged_files(tmp_path: Path, layout: str, damaged: str) -> None:
    path = write(tmp_path / "a.rec", ORIGINALS[layout])
    index = path.with_suffix(".idx")
    truth = set(read_all(path))
    assert len(truth) == sum(1 for one in ORIGINALS[layout].values() if b"PNG" in one)
    target = index if damaged == "idx" else path
    original = target.read_bytes()
    if damaged == "rec scanned":
        index.unlink()
    draw = random.Random(f"{layout} {damaged}")
    read, unequal = 0, 0
    for number in range(ROUNDS):
        content = bytearray(original)
        damage(content, draw, [*MUTATIONS, extreme, extreme] if damaged != "idx" else MUTATIONS)
        target.write_bytes(content)
        found = checked(path, len(content) + len(original), memory=number % ROUNDS_TO_A_MEASUREMENT == 0)
        read += len(found)
        unequal += sum(image not in truth for image in found)
    # The test would be worth little if damage were always found on opening, or never.
    assert ROUNDS * 0.02 * len(truth) < read < ROUNDS * 0.95 * len(truth)
    if damaged == "idx":
        assert unequal == 0
    else:
        # No checksum tells that a byte of an image or a label was changed; such an image can still be decoded.
        assert unequal < 0.5 * read


@pytest.mark.parametrize("index", [True, False], ids=["idx", "scanned"])
def test_memory_grows_no_faster_than_the_file(tmp_path: Path, index: bool) -> None:
    """As above with so many records that `FIXED_BYTES` counts for nothing, and with one record of many parts."""
    many = {key: payload(key, key // 4, bytes(400)) for key in range(1200)}
    many[1200] = payload(1200, 0, (b"abcd" + MAGIC) * 4_000)
    path = write(tmp_path / "a.rec", many, index=index)
    original = path.read_bytes()
    draw = random.Random(0)
    assert len(original) > 8 * FIXED_BYTES
    for _ in range(2):
        content = bytearray(original)
        damage(content, draw, [flip, extreme])
        path.write_bytes(content)
        checked(path, len(content), memory=True)
