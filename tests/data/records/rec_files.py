"""A writer of `.rec` and `.idx` files made from the format's description alone, for the tests of the reader."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

MAGIC = bytes([0x0A, 0x23, 0xD7, 0xCE])


def part(kind: int, content: bytes) -> bytes:
    padding = b"\0" * ((4 - len(content) % 4) % 4)
    return MAGIC + struct.pack("<I", kind * 2**29 + len(content)) + content + padding


def record(payload: bytes) -> bytes:
    """The payload cut at its aligned magic numbers, by looking at one word after the other."""
    pieces, piece = [], b""
    for start in range(0, len(payload), 4):
        word = payload[start : start + 4]
        if word == MAGIC:
            pieces.append(piece)
            piece = b""
        else:
            piece += word
    pieces.append(piece)
    if len(pieces) == 1:
        return part(0, payload)
    middle = b"".join(part(2, piece) for piece in pieces[1:-1])
    return part(1, pieces[0]) + middle + part(3, pieces[-1])


def payload(key: int, labels: float | Sequence[float], image: bytes = b"") -> bytes:
    """A number is the header's label; a list follows the header."""
    if isinstance(labels, (int, float)):
        return struct.pack("<IfQQ", 0, labels, key, 0) + image
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, key, 0, *labels) + image


def write(path: Path, payloads: Mapping[int, bytes], *, index: bool = True) -> Path:
    """Write the records in the order of the mapping, key -> payload."""
    content, lines = b"", b""
    for key, one in payloads.items():
        lines += b"%d\t%d\n" % (key, len(content))
        content += record(one)
    path.write_bytes(content)
    if index:
        path.with_suffix(".idx").write_bytes(lines)
    return path


def png(value: int) -> bytes:
    """A 4 x 6 picture whose red channel is `value`."""
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[..., 2] = value
    return cv2.imencode(".png", image)[1].tobytes()


def insightface(
    people: Sequence[int], *, classes: Sequence[int] | None = None, array: bool = False
) -> dict[int, bytes]:
    """Payloads of people with so many images each; picture k is png(k); labels as numbers or as [class, 1]."""
    payloads: dict[int, bytes] = {0: b""}
    ranges, key = [], 1
    for person, count in enumerate(people):
        label = person if classes is None else classes[person]
        ranges.append([key, key + count])
        for _ in range(count):
            payloads[key] = payload(key, [label, 1] if array else label, png(key))
            key += 1
    payloads[0] = payload(0, [key, key + len(people)])
    for ends in ranges:
        payloads[key] = payload(key, ends)
        key += 1
    return payloads
