"""Mutated `.bin` files: an error of ours or what an unpickler would give, in little time and memory."""

from __future__ import annotations

import io
import pickle
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facedistill.data.verification_bin import VerificationBin, parse_bin
from facedistill.errors import DataError

MUTATIONS = 400
SECONDS = 2.0
MEGABYTE = 1 << 20

IMAGES = [bytes([index]) * (40 + 30 * index) for index in range(6)]
FLAGS = [True, False, True]
ARRAYS = [np.frombuffer(image, dtype=np.uint8).copy() for image in IMAGES]
PYTHON_2 = (
    b"((lp0\n" + b"".join(b"S" + repr(image)[1:].encode() + b"\na" for image in IMAGES) + b"(lp1\nI01\naI00\naI01\nat."
)
SEEDS = {
    **{f"bytes {protocol}": pickle.dumps((IMAGES, FLAGS), protocol) for protocol in (0, 2, 3, 4, 5)},
    **{f"arrays {protocol}": pickle.dumps((ARRAYS, np.array(FLAGS)), protocol) for protocol in (0, 2, 4, 5)},
    "numpy booleans": pickle.dumps((IMAGES, [np.bool_(flag) for flag in FLAGS]), 4),
    "python 2": PYTHON_2,
}
OPCODES = (
    b"(.01FGIJKLMNPQRSTUVXabcdeghijloprstuq})]\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x8d\x8e\x8f\x93\x94\x95\x96"
)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: a byte set, a piece left out, repeated or moved, an opcode put in, the end cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(changed) + 1))
        length = int(rng.integers(1, 12))
        match int(rng.integers(7)):
            case 0:
                changed[at : at + 1] = rng.bytes(1)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length] * int(rng.integers(1, 200))
            case 3:
                changed[at : at + 1] = bytes([OPCODES[rng.integers(len(OPCODES))]])
            case 4:
                changed[at:at] = bytes([OPCODES[rng.integers(len(OPCODES))]])
            case 5:
                changed[at : at + 4] = int(rng.integers(2**32)).to_bytes(4, "little")
            case 6 if rng.random() < 0.3:
                del changed[at:]
        if not changed:
            return b"."
    return bytes(changed)


class Reference(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own unpickler in Python, for the few names that our files hold; given only what we took already."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[str, Callable[..., Any]] = {"ndarray": np.ndarray, "dtype": np.dtype, "encode": self.encode}
        known |= {"bytes": bytes, "bytearray": bytearray}
        known |= {name: getattr(np._core.multiarray, name) for name in ("_reconstruct", "scalar")}
        known["_frombuffer"] = np._core.numeric._frombuffer
        return known[name]

    def encode(self, text: str, encoding: object) -> bytes:
        return text.encode("latin1")


def reference(content: bytes) -> tuple[list[bytes], list[bool]]:
    images, flags = Reference(io.BytesIO(content), encoding="bytes").load()
    return [item.tobytes() if isinstance(item, np.ndarray) else bytes(item) for item in images], [
        bool(f) for f in flags
    ]


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_pair_sets(name: str) -> None:
    read = 0
    rng = np.random.default_rng(list(SEEDS).index(name))
    for _ in range(MUTATIONS):
        content = mutated(SEEDS[name], rng)
        result = attempt(content)
        if result is not None:
            read += 1
            assert (result.images, result.same.tolist()) == reference(content)
            assert len(result.labels) == len(result)
    assert MUTATIONS > read > 0, "every change or none was noticed: the mutations are no test"


def attempt(content: bytes) -> VerificationBin | None:
    tracemalloc.start()
    started = time.process_time()
    try:
        result = parse_bin(content, Path("set.bin"))
    except DataError:
        result = None
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak + len(content) <= 4 * len(content) + MEGABYTE
    return result


def test_the_reference_reads_what_is_not_mutated() -> None:
    for content in SEEDS.values():
        result = parse_bin(content, Path("set.bin"))
        assert (result.images, result.same.tolist()) == reference(content) == (IMAGES, FLAGS)
