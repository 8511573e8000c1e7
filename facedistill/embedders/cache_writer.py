"""Embed a data set into a cache, so that a kill costs seconds of work, and nobody takes a part for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.cache import COMPARED_AGAIN, EmbeddingCache, is_first_version, open_cache
from facedistill.embedders.cache_files import RowWriter, blocks_done, clear_files, create_files, images_done
from facedistill.embedders.cache_images import CheckedImages
from facedistill.embedders.cache_manifest import DONE, LOCK, MANIFEST, Manifest, read_manifest
from facedistill.embedders.cache_strangers import refuse_strangers
from facedistill.embedders.embed_dataset import embed_batches
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, ModelFileError, UsageError
from facedistill.ranks import of_every, of_first, rank, ranks
from facedistill.shown_name import shown_name

WAS_CORRUPT = "it could not be decoded in the earlier run"
OTHER_PLACE = "Use another name, or --overwrite"

Told = Callable[[str, DataError], None]
Note = Callable[[str], None]
Blocks = npt.NDArray[np.int64]


def write_cache(
    embedder: Embedder,
    dataset: FaceDataset,
    out: Path,
    *,
    batch_size: int = 64,
    overwrite: bool = False,
    wait: bool = False,
    on_corrupt: Told | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Note | None = None,
) -> EmbeddingCache:
    """Embed a data set into a cache, or the rest of it if a cache of the same teacher and data was begun there.

    In a distributed run all processes call this, share the work, and get the cache. A finished cache of the same
    teacher and data is given as it is; its folder need not be writable.

    Args:
        embedder: the teacher.
        dataset: the images.
        out: the folder to write, which all processes have to see.
        batch_size: images a call of the network.
        overwrite: begin anew, whatever cache there is.
        wait: wait for another process that writes there, rather than refuse.
        on_corrupt: told the key and the error of each image that cannot be decoded, those of an earlier run and of
            other processes too; None raises the error.
        progress: called with (images done, images) after each batch; an estimate where several processes share.
        note: receives a line about what is gone on with, and one about embeddings of norm 0.

    Raises:
        UsageError: the folder holds anything else, or the cache of another teacher, preprocessing or data, or
            somebody else is writing there.
        DataError: an image cannot be decoded and `on_corrupt` is None, or the cache cannot be written.
        ModelFileError: an embedding is not finite, or what was begun is damaged.
    """
    with ExitStack() as stack, _told_if_not_writable(out):
        begun: tuple[Manifest, Blocks, list[str]] | None = None
        if rank() == 0:
            _check_place(out, overwrite=overwrite)
            finished = None if overwrite else _finished(out)
            if finished is None:
                stack.enter_context(_only_writer(out, wait=wait))
                begun = _begin(embedder, dataset, out, block=batch_size, overwrite=overwrite, note=note)
            else:
                begun = _found(finished, embedder, dataset, out, note)
        # The first looks for all: the others would look while it, or one another, is at work already.
        begun = of_first(begun)
        assert begun is not None  # noqa: S101 - of the first process it is not
        manifest, blocks, corrupt = begun
        for key in corrupt:
            error = DataError(WAS_CORRUPT, place=shown_name(key))
            if on_corrupt is None:
                raise error
            on_corrupt(key, error)
        if not manifest.finished:
            _embed_blocks(embedder, dataset, out, manifest, blocks, batch_size, on_corrupt, progress)
        if rank() == 0:
            manifest = _finish(out, manifest, dataset, note)
        # Not read again: a network's file system may show another machine the earlier manifest for a while.
        return open_cache(out, of_first(manifest))


def _check_place(out: Path, *, overwrite: bool) -> None:
    """UsageError where anything but a cache lies at `out`; nothing is made there before, not even a lock."""
    if out.is_dir():
        refuse_strangers(out)
    elif out.exists() and not is_first_version(out):
        raise UsageError("a file lies there, and a cache is a folder", place=out, next_step="Use another name")
    elif out.exists() and not overwrite:
        raise UsageError(
            "a cache that an earlier version of facedistill made lies there; that was a file, and now it is a folder",
            place=out,
            next_step=OTHER_PLACE,
        )
    else:
        out.unlink(missing_ok=True)


def _finished(out: Path) -> Manifest | None:
    """The manifest of a cache that needs nothing more, not even a lock; None where there is no such cache."""
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    return manifest if manifest.finished else None


@contextmanager
def _only_writer(out: Path, *, wait: bool) -> Iterator[None]:
    """Makes the folder, and keeps others from writing there; given up by the system if this process dies."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCK, blocking=wait):
            yield
    except Timeout as error:
        raise UsageError(
            "another process is writing this cache", place=out, next_step="Wait for it, or use another name"
        ) from error


def _begin(
    embedder: Embedder, dataset: FaceDataset, out: Path, *, block: int, overwrite: bool, note: Note | None
) -> tuple[Manifest, Blocks, list[str]]:
    """The manifest, the blocks that are still to be embedded, and the images that are known to be corrupt."""
    if overwrite or not (out / MANIFEST).is_file():
        clear_files(out)
        manifest = Manifest.of(embedder, dataset, block=block)
        create_files(out, manifest, [dataset.key(index) for index in range(len(dataset))])
        return manifest, np.arange(manifest.blocks), []
    return _found(read_manifest(out), embedder, dataset, out, note)


def _found(
    found: Manifest, embedder: Embedder, dataset: FaceDataset, out: Path, note: Note | None
) -> tuple[Manifest, Blocks, list[str]]:
    """As of `_begin`, for a cache that lies there; nothing is written. UsageError where it is of something else."""
    difference = found.difference(embedder) or found.other_data(dataset)
    if difference is not None:
        state = "a cache" if found.finished else "an unfinished cache"
        raise UsageError(f"there is {state} {difference}", place=out, next_step=OTHER_PLACE)
    cache = open_cache(out, found)
    done = np.ones(found.blocks, dtype=bool) if found.finished else blocks_done(out, found)
    rows = np.flatnonzero(np.repeat(done, min(found.block, found.images))[: found.images])
    # Where neither the name of an image nor its length has changed, its bytes may have.
    try:
        cache.compare_images(dataset, rows, rows, sample=COMPARED_AGAIN)
    except ModelFileError as error:
        raise UsageError(error.cause, place=error.place, next_step=OTHER_PLACE) from error
    if note and found.finished:
        note(f"the cache in {out} was finished before, so nothing is embedded")
    elif note:
        note(f"going on with the cache in {out}: {len(rows)} of {found.images} images were done")
    missing = rows[~cache.rows.present[rows]].tolist()
    return found, np.flatnonzero(~done), [dataset.key(row) for row in missing]


def _embed_blocks(
    embedder: Embedder,
    dataset: FaceDataset,
    out: Path,
    manifest: Manifest,
    blocks: Blocks,
    batch_size: int,
    on_corrupt: Told | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """This process's share of the blocks, and then word of the corrupt images of all."""
    if not (out / MANIFEST).is_file():
        raise DataError(
            f"process {rank()} does not see the cache that the first process has begun",
            place=out,
            next_step="Name a folder that all machines share",
        )
    own = blocks[rank() :: ranks()]
    rows = (own[:, np.newaxis] * manifest.block + np.arange(min(manifest.block, manifest.images))).reshape(-1)
    rows = rows[rows < manifest.images]
    images = CheckedImages(dataset)
    told: dict[str, str] = {}

    def on_own(key: str, error: DataError) -> None:
        if on_corrupt is None:
            raise error
        told[key] = error.cause
        on_corrupt(key, error)

    before = manifest.images - int(manifest.lengths[blocks].sum())
    embedded = 0
    with RowWriter(out, manifest) as writer:
        for batch in embed_batches(embedder, images, rows, batch_size=batch_size, on_corrupt=on_own):
            writer.write(batch, images.take_checksums(batch.indices))
            embedded += len(batch.indices)
            if progress is not None:
                progress(min(before + embedded * ranks(), manifest.images), manifest.images)
    # Also where all wait for one another before the first looks at what they have written.
    for others in of_every(told):
        for key, cause in others.items():
            if key not in told and on_corrupt is not None:
                on_corrupt(key, DataError(cause, place=shown_name(key)))


def _finish(out: Path, manifest: Manifest, dataset: FaceDataset, note: Note | None) -> Manifest:
    """Declare the cache finished, once it is; a note where it holds what no student can be trained on."""
    rows = open_cache(out, manifest).rows
    if not manifest.finished:
        done = images_done(out, manifest)
        if done < manifest.images:
            raise DataError(
                f"only {done} of {manifest.images} images have reached the folder", place=out, next_step="Run it again"
            )
        manifest = replace(manifest, finished=True, missing=int((~rows.present).sum()))
        manifest.write(out)
        (out / DONE).unlink()
    without = np.flatnonzero((rows.norms == 0).any(axis=1))
    if note and len(without):
        many = "1 image has an embedding" if len(without) == 1 else f"{len(without)} images have embeddings"
        note(
            f"{many} of norm 0, such as '{shown_name(dataset.key(int(without[0])))}'; no student can be trained on "
            "that: leave such images out with --exclude then"
        )
    return manifest


@contextmanager
def _told_if_not_writable(out: Path) -> Iterator[None]:
    """What the system refuses becomes a DataError that says what is kept."""
    try:
        yield
    except BrokenPipeError:  # of whoever reads what is printed
        raise
    except OSError as error:
        raise DataError(
            f"the cache cannot be written ({error.strerror or error})",
            place=out,
            next_step="What is done is kept; put that right, and run the same command again",
        ) from error
