"""MXNet's record container: whole payloads in and out of a `.rec` file, found by their byte offsets.

A record is the magic number 0xced7230a, a word whose upper 3 bits say which part of a payload follows (0 the whole,
1 the first part, 2 a middle one, 3 the last) and whose lower 29 bits are the part's length, the part itself, and zero
bytes up to the next multiple of 4. All words are little endian. The writer cuts a payload at every magic number that
stands in it at a multiple of 4 bytes from its start and leaves those 4 bytes out; the reader puts them back.

Source: dmlc-core, src/recordio.cc, `RecordIOWriter::WriteRecord` and `RecordIOReader::ReadRecord`.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError

MAGIC = 0xCED7230A
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
LONGEST_PAYLOAD = (1 << 29) - 1
"""Bytes of the longest payload: its length has 29 bits."""

WHOLE, FIRST, MIDDLE, LAST = 0, 1, 2, 3

_FRAME = struct.Struct("<II")


def pack_record(payload: bytes) -> bytes:
    """The bytes of a record, or of all its parts.

    Raises:
        DataError: the payload is longer than `LONGEST_PAYLOAD`.
    """
    if len(payload) > LONGEST_PAYLOAD:
        raise DataError(f"a record of {len(payload)} bytes is too long for a .rec file, which holds {LONGEST_PAYLOAD}")
    pieces: list[bytes] = []
    begin = 0
    cut = _aligned_magic(payload, 0)
    while cut >= 0:
        pieces += [_FRAME.pack(MAGIC, (MIDDLE if pieces else FIRST) << 29 | cut - begin), payload[begin:cut]]
        begin = cut + 4
        cut = _aligned_magic(payload, begin)
    pieces += [_FRAME.pack(MAGIC, (LAST if pieces else WHOLE) << 29 | len(payload) - begin), payload[begin:]]
    return b"".join([*pieces, bytes(-len(payload) % 4)])


def _aligned_magic(payload: bytes, begin: int) -> int:
    found = payload.find(MAGIC_BYTES, begin)
    while found >= 0 and found % 4:
        found = payload.find(MAGIC_BYTES, found + 1)
    return found


class RecordPlace(NamedTuple):
    """Where an error was found; put into words only when there is one."""

    path: Path
    key: object

    def __str__(self) -> str:
        return f"{self.path}, record {self.key}"


class _Part(NamedTuple):
    kind: int
    begin: int
    end: int
    next: int


class RecordFile:
    """The records of a `.rec` file, memory-mapped: opening it reads nothing.

    Several threads may read at once. A pickle holds no map; the file is mapped anew where it is first read.

    Args:
        path: the `.rec` file.
        index: the file that the offsets come from, which errors then name too.

    Attributes:
        path: as above.
        index: as above.
        size: bytes of the file.

    Raises:
        DataError: the file is missing or empty.
    """

    def __init__(self, path: Path, index: Path | None = None) -> None:
        self.path = path
        self.index = index
        if not path.is_file():
            raise DataError("there is no such .rec file", place=path)
        self.size = path.stat().st_size
        if self.size == 0:
            raise DataError("the file is empty", place=path, next_step="Copy or download it again")
        self._mapped: npt.NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None}

    def payload(self, offset: int, key: object) -> bytes:
        """The payload of the record at byte `offset`, its parts joined; `key` names it in errors.

        Raises:
            DataError: no record starts there, it does not end within the file, or its parts are out of order.
        """
        part = self._part(offset, key, begun=False)
        if part.kind == WHOLE:
            # A copy by numpy lets other threads run while the disk delivers the pages; a slice of a map does not.
            return self._content()[part.begin : part.end].copy().tobytes()
        joined = bytearray(self._content()[part.begin : part.end])
        while part.kind != LAST:
            part = self._part(part.next, key, begun=True)
            joined += MAGIC_BYTES
            joined += self._content()[part.begin : part.end].data
        return bytes(joined)

    def words(self, offsets: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint32]:
        """(N, count) uint32: the first words at each of (N,) offsets, which are multiples of 4; 0 beyond the end."""
        whole_words = self.size // 4
        words = self._content()[: whole_words * 4].view("<u4")
        positions = offsets[:, np.newaxis] // 4 + np.arange(count)
        found = words[np.minimum(positions, whole_words - 1)] if whole_words else np.zeros(positions.shape, np.uint32)
        found[positions >= whole_words] = 0
        return found.astype(np.uint32, copy=False)

    def scan(self) -> npt.NDArray[np.int64]:
        """(N,) int64 byte offsets of all records, by walking the file from record to record.

        Raises:
            DataError: the file is truncated, or something else than a record stands where one should.
        """
        offsets = array("q")
        position = 0
        inside = False
        while position < self.size:
            part = self._part(position, len(offsets) - inside, begun=inside)
            if not inside:
                offsets.append(position)
            inside = part.kind in (FIRST, MIDDLE)
            position = part.next
        if inside:
            raise self._truncated(len(offsets) - 1, "its last part is missing")
        return np.array(offsets, dtype=np.int64)

    def release(self) -> None:
        """Let go of the map, so that the pages read so far no longer count as this process's memory."""
        self._mapped = None

    def _content(self) -> npt.NDArray[np.uint8]:
        mapped = self._mapped
        if mapped is None:
            try:
                with self.path.open("rb") as stream:
                    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise DataError(f"the file cannot be read ({error})", place=self.path) from error
            mapped = np.frombuffer(content, dtype=np.uint8)
            if len(mapped) != self.size:
                raise DataError(
                    f"the file has {len(mapped)} bytes now and had {self.size} when it was opened",
                    place=self.path,
                    next_step="Start again when nothing writes to it",
                )
            self._mapped = mapped
        return mapped

    def _part(self, position: int, key: object, *, begun: bool) -> _Part:
        """The part at `position`: one that begins a record, or, where one is begun, that continues it."""
        if begun and position == self.size:
            raise self._truncated(key, "its last part is missing")
        if position % 4 or not 0 <= position < self.size:
            raise self._misplaced(position, key, "the middle of a word" if position % 4 else "no byte of the file")
        if position + _FRAME.size > self.size:
            raise self._truncated(key, f"the file ends {self.size - position} bytes after the record begins")
        magic, word = _FRAME.unpack_from(self._content().data, position)
        kind, length = word >> 29, word & LONGEST_PAYLOAD
        if begun and (magic != MAGIC or kind not in (MIDDLE, LAST)):
            raise DataError(
                f"the parts of the record are out of order at byte {position}",
                place=RecordPlace(self.path, key),
                next_step="The file is damaged there; copy or download it again",
            )
        if not begun and (magic != MAGIC or kind not in (WHOLE, FIRST)):
            raise self._misplaced(position, key, "something else" if magic != MAGIC else f"a part of kind {kind}")
        begin = position + _FRAME.size
        after = begin + length + -length % 4
        if after > self.size:
            raise self._truncated(key, f"{length} bytes should follow, and the file holds {self.size - begin}")
        return _Part(kind, begin, begin + length, after)

    def _truncated(self, key: object, what: str) -> DataError:
        return DataError(
            f"the file is truncated or the record damaged: {what}",
            place=RecordPlace(self.path, key),
            next_step="Copy or download the file again",
        )

    def _misplaced(self, position: int, key: object, found: str) -> DataError:
        if self.index is None:
            cause, next_step = f"no record begins at byte {position}", "The file is damaged, or it is no .rec file"
        else:
            cause = f"no record begins at byte {position}, where {self.index} has one, but {found}"
            next_step = "The two files do not belong together, or one is damaged; without an .idx the .rec is scanned"
        return DataError(cause, place=RecordPlace(self.path, key), next_step=next_step)
