"""Where caches are kept that nobody named: one for each teacher and data set, made once and found again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.cache_manifest import MANIFEST
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, UsageError

ANOTHER_WAY = (
    "Set XDG_CACHE_HOME to a folder that can be, use --cache off, or name a cache that facedistill embed wrote"
)


def default_cache_folder() -> Path:
    """`$XDG_CACHE_HOME/facedistill`, or `~/.cache/facedistill` (XDG Base Directory Specification).

    Raises:
        UsageError: there is no home folder either.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the specification has others ignored
        return named / "facedistill"
    try:
        return Path.home() / ".cache" / "facedistill"
    except RuntimeError as error:
        raise UsageError("there is no home folder in which caches could be kept", next_step=ANOTHER_WAY) from error


def cache_place(embedder: Embedder, dataset: FaceDataset, folder: Path) -> Path:
    """Where below `folder` the cache of this teacher, preprocessing and data set lies.

    Raises:
        UsageError: the teacher has no fingerprint by which it could be told from others.
    """
    if not embedder.fingerprint:
        raise UsageError(
            "the teacher's weights are of no file, so its embeddings could not be told from another's",
            place=embedder.name,
            next_step="Use --cache off",
        )
    values = json.dumps([embedder.preprocessing.to_dict(), embedder.embedding_size], sort_keys=True)
    preprocessing = hashlib.sha256(values.encode()).hexdigest()
    return folder / f"{embedder.fingerprint[:12]}-{preprocessing[:8]}-{dataset.fingerprint[:12]}"


def cache_for(
    embedder: Embedder,
    dataset: FaceDataset,
    folder: Path | None = None,
    *,
    batch_size: int = 64,
    on_corrupt: Callable[[str, DataError], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> EmbeddingCache:
    """The cache of a teacher's embeddings of a data set: found below `folder`, finished there, or made.

    In a distributed run all processes call this. Where another run makes the same cache at the time, it is waited for.

    Args:
        embedder: the teacher.
        dataset: the images.
        folder: where caches are kept; None for `default_cache_folder()`.
        batch_size: images a call of the network.
        on_corrupt: as of `write_cache`.
        progress: called with (images done, images) after each batch, if there is anything to do.
        note: receives a line about where the cache is.

    Raises:
        UsageError: the folder cannot be written, or the images have changed under their names.
        DataError: an image cannot be decoded and `on_corrupt` is None, or the disk is full.
        ModelFileError: an embedding is not finite, or the cache there is damaged.
    """
    folder = default_cache_folder() if folder is None else folder
    out = cache_place(embedder, dataset, folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder of caches cannot be written ({error.strerror})", place=folder, next_step=ANOTHER_WAY
        ) from error
    if note and not (out / MANIFEST).is_file():
        note(f"the teacher's embeddings are kept in {out}")
    return write_cache(
        embedder,
        dataset,
        out,
        batch_size=batch_size,
        wait=True,
        on_corrupt=on_corrupt,
        progress=progress,
        note=note,
    )
