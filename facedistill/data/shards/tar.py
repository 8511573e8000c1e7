"""Step through the members of a tar file: where the bytes of each lie, without reading them.

File format: POSIX ustar (IEEE 1003.1), with the long names of GNU tar (types L and K) and of pax (type x: path and
size). The loop is our own because it must end on any bytes: each member lies behind the one before and inside the file.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from facedistill.errors import DataError
from facedistill.shown_name import shown_name

BLOCK = 512
LONGEST_HEADER = 1 << 20
"""Bytes of a long name or of pax records; ours, generous beside the 4,096 that a path may have."""

_ADLER_BASE = 65521
_REGULAR = b"0\0" + b"7"
_PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=]+)=")


class TarMember(NamedTuple):
    """A regular file in a tar: its name as it is stored, and where its bytes lie."""

    name: str
    offset: int
    size: int


def tar_members(descriptor: int, path: Path) -> Iterator[TarMember]:
    """The regular files of an uncompressed tar, in order; folders, links and devices are stepped over.

    As with GNU tar, the archive ends at the first block of zeros or at the end of the file.

    Args:
        descriptor: of the open file.
        path: of the file, for messages.

    Raises:
        DataError: the file is no tar, is damaged, ends in the middle of a member, or holds a sparse file.
    """
    end = os.fstat(descriptor).st_size
    position, long_name, records = 0, None, _NO_RECORDS
    while position < end:
        header = read_at(descriptor, BLOCK, position)
        if len(header) < BLOCK:
            raise _damaged(path, position, "it ends in the middle of a header")
        kind = header[156:157]
        if kind == b"\0" and not header.strip(b"\0"):
            break
        _check_sum(header, path, position)
        size = _number(header[124:136], path, position)
        if records.size is not None and kind not in b"LKgxX":
            size = records.size
        if kind in b"123456":
            size = 0  # links, devices and folders have no bytes, whatever is said of their size
        start = position + BLOCK
        if size > end - start:
            raise _damaged(path, position, f"a member of {size:,} bytes where {end - start:,} are left")
        if kind in b"LKxX":
            if size > LONGEST_HEADER:
                raise _damaged(path, position, f"a name of {size:,} bytes")
            content = read_at(descriptor, size, start)
            if kind == b"L":
                long_name = content.split(b"\0", 1)[0]
            elif kind != b"K":
                records = _pax_records(content, path, position)
        elif kind != b"g":
            if kind == b"S" or records.sparse:
                raise _damaged(path, position, "a sparse file")
            if kind in _REGULAR:
                name = records.path or long_name or _name(header)
                if not name.endswith(b"/"):  # a folder of the time before ustar
                    yield TarMember(name.decode(errors="surrogateescape"), start, size)
            long_name, records = None, _NO_RECORDS
        position = start + (size + BLOCK - 1) // BLOCK * BLOCK
    if long_name is not None or records is not _NO_RECORDS:
        raise _damaged(path, position, "a long name without its member")


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset`, fewer where the file ends; safe from several threads where the system has pread."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


class _Records(NamedTuple):
    path: bytes | None = None
    size: int | None = None
    sparse: bool = False


_NO_RECORDS = _Records()


def _check_sum(header: bytes, path: Path, position: int) -> None:
    try:
        stored = _number(header[148:156], path, position)
    except DataError:
        stored = -1
    blanked = header[:148] + b"        " + header[156:]
    # Adler-32 holds the sum of the bytes modulo a prime in its low half, 20 times as fast as sum().
    if ((zlib.adler32(blanked) & 0xFFFF) - 1 - stored) % _ADLER_BASE and stored != _signed_sum(blanked):
        if position == 0:
            raise DataError("the file is no tar file", place=shown_name(str(path)))
        raise _damaged(path, position, "a header whose checksum is wrong")


def _signed_sum(block: bytes) -> int:
    """The sum as some old tars wrote it."""
    return sum(value - 256 if value > 127 else value for value in block)


def _number(text: bytes, path: Path, position: int) -> int:
    """Octal digits, or GNU's binary form for numbers that need more of them."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    try:
        value = int(text.rstrip(b" \0") or b"0", 8)
    except ValueError:  # a rest of something else behind the end of the text
        digits = text.split(b"\0", 1)[0].strip()
        value = int(digits or b"0", 8) if not digits.strip(b"01234567") else -1
    if value < 0:
        raise _damaged(path, position, "a header with a number that is none")
    return value


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:  # GNU's own format keeps other things here
        return header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name


def _pax_records(content: bytes, path: Path, position: int) -> _Records:
    """The records `LENGTH KEY=VALUE` that matter here."""
    name, size, sparse, at = None, None, False, 0
    while at < len(content) and content[at]:
        match = _PAX_RECORD.match(content, at)
        length = int(match.group(1)) if match else 0
        if match is None or match.end() > at + length - 1 or at + length > len(content):
            raise _damaged(path, position, "pax records that are none")
        key, value = match.group(2), content[match.end() : at + length - 1]
        if key == b"path":
            name = value
        elif key == b"size":
            if not value.isdigit() or len(value) > 19:
                raise _damaged(path, position, "a pax size that is no number")
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            sparse = True
        at += length
    return _Records(name, size, sparse)


def _damaged(path: Path, position: int, what: str) -> DataError:
    return DataError(
        f"the tar file is damaged: {what}, at byte {position:,}",
        place=shown_name(str(path)),
        next_step="Copy it again, or look at it with tar tvf",
    )
