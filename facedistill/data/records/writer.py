"""Write a face data set as MXNet RecordIO in insightface's layout: `.rec`, `.idx`, `property` and `.lst`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from facedistill.data.conversion.readable import none_of, nothing_readable
from facedistill.data.conversion.stored_bytes import stored_bytes
from facedistill.data.dataset import FaceDataset
from facedistill.data.images import IMAGE_SUFFIXES
from facedistill.data.records.header import LARGEST_EXACT, pack_image, pack_range
from facedistill.data.records.names import is_listable
from facedistill.data.records.recordio import pack_record
from facedistill.errors import DataError, UsageError
from facedistill.shown_name import shown_name


def write_rec(dataset: FaceDataset, path: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the stored bytes of all images, and what tells whose they are.

    Record 0 comes first, with the keys of the identity records as its two labels; then the images with the keys 1, 2,
    ..., sorted by label and otherwise in the data set's order; then an identity record for each label with the range
    of its images' keys. (face2rec2 puts record 0 behind the images. Readers look it up by its key; here it comes first
    so that counting the records gives the same keys.) An image has one label, its class, with flag 0, as in the
    published MS1M and CASIA files; face2rec2 today writes an array of the class and whether it was aligned, but many
    readers take the label for a number.

    Labels are float32: beyond 16,777,216 images the ranges are rounded, as in insightface's own Glint360K. `RecDataset`
    corrects for that; readers that do not may take an image at an identity's end for the neighbour's.

    The `.lst` keeps the data set's keys where their folder is the identity's name; otherwise an image is listed as
    identity/record key. The names are written whole or not at all: files of the same names are replaced at the end.

    Args:
        dataset: what to write.
        path: the `.rec` file; the others go beside it. Its folder is made where it is missing.
        progress: told the images written and to write.

    Raises:
        UsageError: `path` does not end in `.rec`.
        DataError: an image cannot be read or has no bytes, none can be decoded (for the size in `property`), an
            identity's name cannot be listed, or there are more identities than float32 can number.
        OSError: the files cannot be written.

    Source: insightface, src/data/face2rec2.py; mxnet, python/mxnet/recordio.py.
    """
    if path.suffix != ".rec":
        raise UsageError("the name of a RecordIO file must end in .rec", place=path)
    _check(dataset, path)
    order = np.argsort(dataset.labels, kind="stable")
    height, width = _image_size(dataset, order, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    targets = {suffix: path.with_suffix(suffix) for suffix in (".rec", ".idx", ".lst")}
    targets["property"] = path.with_name("property")
    partial = {kind: target.with_name(f".{target.name}.partial") for kind, target in targets.items()}
    try:
        with contextlib.ExitStack() as stack:
            streams = {kind: stack.enter_context(name.open("wb")) for kind, name in partial.items()}
            streams["property"].write(b"%d,%d,%d" % (len(dataset.identities), height, width))
            _write_records(dataset, order, streams[".rec"], streams[".idx"], progress)
            for line in _list_lines(dataset, order):
                streams[".lst"].write(line)
        # Whoever looks in between finds a .rec without .idx, which can be read, rather than with a wrong one.
        targets[".idx"].unlink(missing_ok=True)
        targets[".lst"].unlink(missing_ok=True)
        for kind, target in targets.items():
            partial[kind].replace(target)
    finally:
        for name in partial.values():
            name.unlink(missing_ok=True)


def _check(dataset: FaceDataset, path: Path) -> None:
    if not len(dataset):
        raise DataError("the data set holds no images to write", place=path)
    if len(dataset.identities) > LARGEST_EXACT:
        raise DataError(
            f"a .rec file can number {LARGEST_EXACT} identities, not {len(dataset.identities)}",
            place=path,
            next_step="Write tar shards instead",
        )
    for name in dataset.identities:
        if not name or not is_listable(name):
            raise DataError(
                f"the list beside a .rec file cannot hold the identity's name '{shown_name(name)}'",
                place=path,
                next_step="Rename the person, or convert to a folder first, which gives safe names",
            )


def _image_size(dataset: FaceDataset, order: npt.NDArray[np.int64], path: Path) -> tuple[int, int]:
    """Height and width of the first image that can be decoded."""
    reason = ""
    for index in order:
        try:
            height, width, _ = dataset.image(int(index)).shape
        except DataError as error:
            reason = reason or error.cause
        else:
            return height, width
    raise nothing_readable(none_of(len(order), "decoded"), dataset.key(int(order[0])), reason, path)


def _write_records(
    dataset: FaceDataset,
    order: npt.NDArray[np.int64],
    rec: BinaryIO,
    idx: BinaryIO,
    progress: Callable[[int, int], None] | None,
) -> None:
    count = len(order)
    first_identity = count + 1
    position = 0

    def write(key: int, payload: bytes) -> None:
        nonlocal position
        record = pack_record(payload)
        rec.write(record)
        idx.write(b"%d\t%d\n" % (key, position))
        position += len(record)

    write(0, pack_range(0, first_identity, first_identity + len(dataset.identities)))
    for key, index in enumerate(order, 1):
        write(key, pack_image(key, int(dataset.labels[index]), stored_bytes(dataset, int(index))))
        if progress is not None:
            progress(key, count)
    ends = 1 + np.cumsum(np.bincount(dataset.labels, minlength=len(dataset.identities)))
    begin = 1
    for label, end in enumerate(ends):
        write(first_identity + label, pack_range(first_identity + label, begin, int(end)))
        begin = int(end)


def _list_lines(dataset: FaceDataset, order: npt.NDArray[np.int64]) -> Iterator[bytes]:
    for key, index in enumerate(order, 1):
        label = int(dataset.labels[index])
        name, identity = dataset.key(int(index)), dataset.identities[label]
        if not is_listable(name) or PurePosixPath(name).parent.as_posix() != identity:
            suffix = PurePosixPath(name).suffix
            name = f"{identity}/{key:08d}{suffix if suffix.lower() in IMAGE_SUFFIXES else ''}"
        yield f"{key}\t{label}\t{name}\n".encode("utf-8", "surrogateescape")
