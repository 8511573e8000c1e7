"""Read pieces of tar files at random, from several threads and processes, with few files open at a time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from facedistill.data.shards.index import spelled
from facedistill.data.shards.tar import read_at
from facedistill.errors import DataError

MOST_OPEN = 64
"""Files kept open; ours: many systems allow a process 1,024, and others want some of them."""


class _OpenFile:
    """A descriptor that is closed with its last user, so that no thread loses it while it reads."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class ShardFiles:
    """The tar files of a set; opened when they are read, and again in every process.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._open: OrderedDict[int, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> list[Path]:
        return self.paths

    def __setstate__(self, paths: list[Path]) -> None:
        self.__init__(paths)  # type: ignore[misc]

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """`length` bytes of a file.

        Raises:
            DataError: the file cannot be read, or is shorter than it was.
        """
        try:
            opened = self._opened(shard)
            if hasattr(os, "pread"):
                content = read_at(opened.descriptor, length, offset)
            else:
                with self._lock:
                    content = read_at(opened.descriptor, length, offset)
        except OSError as error:
            raise DataError(
                f"the tar file cannot be read ({error.strerror})", place=spelled(self.paths[shard])
            ) from error
        if len(content) < length:
            raise DataError(
                "the tar file is shorter than it was when it was opened",
                place=spelled(self.paths[shard]),
                next_step="Start again once it is complete",
            )
        return content

    def _opened(self, shard: int) -> _OpenFile:
        with self._lock:
            opened = self._open.get(shard)
            if opened is None:
                opened = self._open[shard] = _OpenFile(self.paths[shard])
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard)
            return opened
