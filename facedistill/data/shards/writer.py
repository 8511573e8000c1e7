"""Write a data set as tar shards of WebDataset's convention."""

from __future__ import annotations

import tarfile
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from facedistill.data.conversion.stored_bytes import stored_bytes
from facedistill.data.dataset import FaceDataset
from facedistill.data.image_header import image_suffix
from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.data.shards.index import ShardIndexBuilder
from facedistill.data.shards.index_file import write_shard_index
from facedistill.data.shards.key import image_key, leads_out, sample_of
from facedistill.data.shards.tar import BLOCK
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name

SHARD_BYTES = 256 << 20
"""Where a shard is cut: what WebDataset's documentation recommends (100 MB to 1 GB), a small file of them."""

_SAFE_NAMES = "Convert to a folder first, which gives safe names"
_RECORD = 20 * BLOCK  # tar files are padded to whole records (POSIX pax, "blocking factor" 20)


def write_shards(
    dataset: FaceDataset,
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    shard_images: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write `folder/faces-000000.tar` and so on, and the index that lets `ShardDataset` open them at once.

    A sample is the image as it is stored and `KEY.cls` with its label; KEY is the image's key without its suffix, dots
    in its last part written %2E. Two images whose keys differ in the suffix alone keep it in KEY. The same data set
    gives the same bytes. The files get their names when all are complete: an interruption leaves no tar.

    Args:
        dataset: the images, in whose order they are written.
        folder: made where it is missing.
        shard_bytes: a new shard is begun before one would grow beyond this many bytes.
        shard_images: the most images in a shard, None for any number.
        progress: called with (images done, images in all).

    Returns:
        The tar files.

    Raises:
        UsageError: the folder holds tar files already, or a size is below 1.
        DataError: an image cannot be read or has no bytes, a key occurs twice or leads out of the data set, or there
            are no images.
    """
    if shard_bytes < 1 or (shard_images is not None and shard_images < 1):
        raise UsageError("the size of a shard must be at least 1")
    if not len(dataset):
        raise DataError("there are no images to write", place=folder)
    folder.mkdir(parents=True, exist_ok=True)
    present = next((path for path in sorted(folder.iterdir()) if path.name.endswith(".tar")), None)
    if present is not None:
        raise UsageError(
            f"the folder holds {shown_name(present.name)} already",
            place=folder,
            next_step="Choose another folder or empty this one",
        )
    paths: list[Path] = []
    builder = ShardIndexBuilder(paths)
    try:
        _write_all(dataset, folder, paths, builder, (shard_bytes, shard_images), progress)
        for path in paths:
            _partial(path).replace(path)
        write_shard_index(folder, builder.finish(), paths)
    except BaseException:
        for path in paths:
            _partial(path).unlink(missing_ok=True)
        raise
    return paths


def _write_all(
    dataset: FaceDataset,
    folder: Path,
    paths: list[Path],
    builder: ShardIndexBuilder,
    limits: tuple[int, int | None],
    progress: Callable[[int, int], None] | None,
) -> None:
    labels = dataset.labels
    stream: BinaryIO | None = None
    images = 0
    try:
        for index, (sample, suffix) in enumerate(_samples(dataset, folder)):
            encoded = stored_bytes(dataset, index)
            suffix = suffix or image_suffix(encoded)
            label = str(int(labels[index]))
            image, label_member = _member(sample + suffix, encoded), _member(f"{sample}.cls", label.encode())
            full = stream is not None and stream.tell() + len(image) + len(label_member) + 2 * BLOCK > limits[0]
            if stream is None or full or images == limits[1]:
                if stream is not None:
                    _close(stream)
                paths.append(folder / f"faces-{len(paths):06d}.tar")
                stream, images = _partial(paths[-1]).open("wb"), 0
            header = len(image) - _padded(len(encoded))
            builder.add(len(paths) - 1, image_key(sample, suffix[1:]), stream.tell() + header, len(encoded), label)
            stream.write(image)
            stream.write(label_member)
            images += 1
            if progress is not None:
                progress(index + 1, len(dataset))
    finally:
        if stream is not None:
            _close(stream)


def _samples(dataset: FaceDataset, folder: Path) -> Iterator[tuple[str, str]]:
    """(sample, suffix of its key) of each image; DataError where two images have one key or one is no name."""
    digests = array("q")
    for index in range(len(dataset)):
        digests.append(hash(sample_of(*_key_and_suffix(dataset, index))))
    values, counts = np.unique(np.frombuffer(digests, dtype=np.int64), return_counts=True)
    shared = set(values[counts > 1].tolist())
    written = array("q")
    for index, digest in enumerate(digests):
        key, suffix = _key_and_suffix(dataset, index)
        sample = sample_of(key, suffix, whole=digest in shared and bool(suffix))
        written.append(hash(sample))
        if key.endswith("/") or not key:
            raise DataError(
                f"the image {index} has the key '{shown_name(key)}', which is no name of a file",
                place=folder,
                next_step=_SAFE_NAMES,
            )
        if leads_out(key):
            raise DataError(
                f"the image '{shown_name(key)}' has a name that leads out of the data set",
                place=folder,
                next_step=_SAFE_NAMES,
            )
        yield sample, suffix
    _, first, counts = np.unique(np.frombuffer(written, dtype=np.int64), return_index=True, return_counts=True)
    if counts.max() > 1:
        key = dataset.key(int(first[np.argmax(counts)]))
        raise DataError(
            f"two images have the key '{shown_name(key)}', or keys that are one as names in a tar",
            place=folder,
            next_step="Rename one of them, or convert to a folder first, which gives each a name of its own",
        )


def _key_and_suffix(dataset: FaceDataset, index: int) -> tuple[str, str]:
    key = dataset.key(index)
    last = key.rpartition("/")[2]
    dot = last.rfind(".")
    suffix = last[dot:] if dot > 0 and last[dot:].lower() in IMAGE_SUFFIXES else ""
    return key, suffix


def _member(name: str, content: bytes) -> bytes:
    """A member with its header; no owner and no time, so that equal data give equal bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return header + content + bytes(_padded(len(content)) - len(content))


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _close(stream: BinaryIO) -> None:
    """End the archive: two blocks of zeros, and more up to a whole record."""
    if not stream.closed:
        end = stream.tell() + 2 * BLOCK
        stream.write(bytes(2 * BLOCK + -end % _RECORD))
        stream.close()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
