"""The files of a cache of embeddings: made in full length, written row by row, and mapped into memory to be read."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from facedistill.embedders.cache_manifest import (
    CHECKSUMS,
    DIRECTIONS,
    DONE,
    KEYS,
    LOCK,
    MAKE_AGAIN,
    MANIFEST,
    NORMS,
    OWN_NAMES,
    Manifest,
)
from facedistill.embedders.cached_rows import split_norms
from facedistill.embedders.embed_dataset import EmbeddedBatch
from facedistill.errors import DataError, ModelFileError
from facedistill.files import force_to_disk

Scalar = TypeVar("Scalar", bound=np.generic)

FLUSH_SECONDS = 5.0
"""How often what is written is forced to the disk and noted as done: what a kill costs at most (ours)."""


def clear_files(out: Path) -> None:
    """Remove a cache; its manifest first, so that what a kill leaves of it is nothing that anybody would read.

    The directions go last, by which what is left can be told to be of a cache; see `refuse_strangers`.
    """
    for name in (MANIFEST, *sorted(OWN_NAMES - {LOCK, MANIFEST, DIRECTIONS}), DIRECTIONS):
        (out / name).unlink(missing_ok=True)


def create_files(out: Path, manifest: Manifest, keys: list[str]) -> None:
    """All files in their full length: first the directions, and last the manifest, without which there is no cache."""
    arrays: list[tuple[str, tuple[int, ...], npt.DTypeLike]] = [
        (DIRECTIONS, (manifest.images, 2, manifest.embedding_size), np.float16),
        (NORMS, (manifest.images, 2), np.float32),
        (CHECKSUMS, (manifest.images,), np.uint32),
        (DONE, (manifest.blocks,), np.uint8),
    ]
    needed = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for _, shape, dtype in arrays)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"the cache takes {_size(needed)}, and the disk has {_size(free)} left",
            place=out,
            next_step="Make room, or name a folder on another disk",
        )
    for name, shape, dtype in arrays:
        with (out / name).open("wb") as stream:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.truncate(stream.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        force_to_disk(out / name)
    (out / KEYS).write_bytes((json.dumps(keys, separators=(",", ":")) + "\n").encode())
    force_to_disk(out / KEYS)
    manifest.write(out)


def _size(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size / 10:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def read_keys(path: Path, images: int) -> list[str]:
    """The names in `keys.json`; ModelFileError where they are not `images` names."""
    try:
        keys = json.loads((path / KEYS).read_bytes())
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError("it is no list of names")
        if len(keys) != images:
            raise ValueError(f"{len(keys)} names, and there are {images} images")
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"the cache is damaged: its {KEYS} cannot be read ({error})", place=path, next_step=MAKE_AGAIN
        ) from error
    return keys


def map_array(file: Path, shape: tuple[int, ...], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    """A .npy file mapped into memory; ModelFileError where it is not exactly an array of this shape and type."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ValueError(f"it holds {array.shape} {array.dtype}, not {shape} {np.dtype(dtype)}")
        surplus = file.stat().st_size - array.offset - array.nbytes
        if surplus:
            raise ValueError(f"it is {surplus} bytes too long")
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ModelFileError(
            f"the cache is damaged: {file.name} cannot be read ({error})", place=file.parent, next_step=MAKE_AGAIN
        ) from error
    return np.asarray(array)


def blocks_done(path: Path, manifest: Manifest) -> npt.NDArray[np.bool_]:
    """(blocks,) which blocks of an unfinished cache are written."""
    return np.asarray(map_array(path / DONE, (manifest.blocks,), np.uint8) == 1)


def images_done(path: Path, manifest: Manifest) -> int:
    """How many images of an unfinished cache are embedded."""
    done = blocks_done(path, manifest)  # first, since it finds that a manifest speaks of blocks which are not there
    return int(manifest.lengths[done].sum())


class RowWriter:
    """Writes batches into the files of a cache, and notes the blocks that are whole once they are on the disk.

    Several processes may have one open, on rows of different blocks.
    """

    def __init__(self, out: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._files = {name: _RowFile(out / name) for name in (DIRECTIONS, NORMS, CHECKSUMS, DONE)}
        self._left = manifest.lengths
        self._whole: list[int] = []
        self._flushed = time.monotonic()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is whole is kept whatever ended the work; but a full disk would only raise its own error again.
        with suppress(*([] if kind is None else [OSError])):
            self.flush()
        for file in self._files.values():
            file.close()

    def write(self, batch: EmbeddedBatch, checksums: npt.NDArray[np.uint32]) -> None:
        """Write the rows of a batch, and flush if it is time.

        Args:
            batch: of originals and mirrored images.
            checksums: (B,) uint32.
        """
        assert batch.mirrored is not None  # noqa: S101 - asked for by whoever writes a cache
        pairs = [split_norms(rows) for rows in (batch.original, batch.mirrored)]
        directions = np.stack([directions for directions, _ in pairs], axis=1).astype(np.float16)
        norms = np.stack([norms for _, norms in pairs], axis=1)
        # Batches that go over a block's end, or over a block that was done before, are several runs of rows.
        for run in np.split(np.arange(len(batch.indices)), np.flatnonzero(np.diff(batch.indices) != 1) + 1):
            first = int(batch.indices[run[0]])
            self._files[DIRECTIONS].write(first, directions[run])
            self._files[NORMS].write(first, norms[run])
            self._files[CHECKSUMS].write(first, checksums[run])
        blocks, counts = np.unique(batch.indices // self._manifest.block, return_counts=True)
        self._left[blocks] -= counts
        self._whole += [int(block) for block in blocks if self._left[block] == 0]
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Force the rows to the disk, and only then the note that they are there."""
        if self._whole:
            for name in (DIRECTIONS, NORMS, CHECKSUMS):
                self._files[name].force()
            for block in self._whole:
                self._files[DONE].write(block, np.ones(1, dtype=np.uint8))
            self._files[DONE].force()
            self._whole = []
        self._flushed = time.monotonic()


class _RowFile:
    """A .npy file whose rows are written in place."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("r+b", buffering=0)
        np.lib.format.read_magic(self._stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(self._stream)
        self._begin = self._stream.tell()
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize

    def write(self, first: int, rows: npt.NDArray[np.generic]) -> None:
        self._stream.seek(self._begin + first * self._row)
        rest = memoryview(rows.tobytes())
        while rest:
            rest = rest[self._stream.write(rest) :]

    def force(self) -> None:
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()
