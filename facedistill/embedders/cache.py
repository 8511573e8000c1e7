"""A cache of embeddings on disk: a teacher is run once, and every student of it reads the result."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from facedistill.data.dataset import FaceDataset
from facedistill.data.image_source import ImageSource
from facedistill.embedders.cache_files import (
    RowWriter,
    clear_files,
    create_files,
    images_done,
    map_array,
    read_keys,
)
from facedistill.embedders.cache_manifest import (
    CHECKSUMS,
    DIRECTIONS,
    DONE,
    FORMAT,
    KEYS,
    MAKE_AGAIN,
    NORMS,
    Manifest,
    is_cache_folder,
    read_manifest,
)
from facedistill.embedders.cache_strangers import refuse_strangers
from facedistill.embedders.cached_rows import CachedRows
from facedistill.embedders.embed_dataset import EmbeddedBatch, EmbeddedDataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, ModelFileError
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name

MAKE_ONE = "Make one with facedistill embed"

COMPARED = 1000
"""Images whose bytes are compared where a cache serves another data set than it was made of (ours)."""

COMPARED_AGAIN = 100
"""Images whose bytes are compared where it serves the very same data, or is gone on with (ours)."""


class EmbeddingCache:
    """The embeddings of a data set's images and of their mirror images, by key, as the model gave them.

    Args:
        manifest: of what model and of what data they are.
        rows: the N embeddings.
        keys: gives the names of the N images; only asked where rows are looked for by name.
        checksums: (N,) uint32, the CRC-32 of each image's stored bytes, which are the same in every format; 0 where it
            is not known.
        place: the folder it was read from.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows: CachedRows,
        keys: Callable[[], list[str]],
        checksums: npt.NDArray[np.uint32],
        place: str = "",
    ) -> None:
        self.manifest = manifest
        self.rows = rows
        self.checksums = checksums
        self.place = place
        self._read_keys = keys

    @classmethod
    def in_memory(
        cls,
        keys: list[str],
        original: npt.NDArray[np.float32],
        mirrored: npt.NDArray[np.float32],
        model: str,
        model_fingerprint: str,
        preprocessing: Preprocessing,
        dataset_fingerprint: str,
        checksums: npt.NDArray[np.uint32],
    ) -> EmbeddingCache:
        """A cache of (N, D) float32 embeddings that lies in no file; rows of NaN are images without one."""
        size = int(original.shape[1])
        manifest = Manifest(model, model_fingerprint, preprocessing, size, dataset_fingerprint, len(keys))
        rows = CachedRows.in_memory(original, mirrored, key_of=keys.__getitem__)
        return cls(manifest, rows, lambda: keys, checksums)

    @cached_property
    def keys(self) -> list[str]:
        """The names of the N images."""
        return self._read_keys()

    @property
    def name(self) -> str:
        """What to call it in a table: its folder, or the model where it lies in none."""
        return self.place or self.manifest.model

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the model's weights file, as hex."""
        return self.manifest.model_fingerprint

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.manifest.model

    @property
    def model_fingerprint(self) -> str:
        """SHA-256 of its weights file."""
        return self.manifest.model_fingerprint

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model did to the crops."""
        return self.manifest.preprocessing

    @property
    def dataset_fingerprint(self) -> str:
        """Of the data set that was embedded."""
        return self.manifest.dataset_fingerprint

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.manifest.embedding_size

    @property
    def original(self) -> npt.NDArray[np.float32]:
        """(N, D) float32, all of them in memory."""
        return self.rows.original

    @property
    def mirrored(self) -> npt.NDArray[np.float32]:
        """(N, D) float32, all of them in memory."""
        return self.rows.mirrored

    def check_teacher(self, embedder: Embedder) -> None:
        """ModelFileError where the cache is of other weights, sizes or preprocessing than `embedder` has."""
        difference = self.manifest.difference(embedder)
        if difference is not None:
            raise ModelFileError(f"the cache is {difference}", place=self.place or None, next_step=MAKE_ONE)

    def of(self, dataset: FaceDataset) -> CachedRows:
        """The rows of `dataset`'s images, in its order; it may be a part of what was embedded, or it in another format.

        Raises:
            ModelFileError: an image is not in the cache, was another when it was embedded, or has an embedding of
                norm zero or infinity. A sample of the images is compared, a larger one where the data set is not the
                very one that was embedded: a folder's fingerprint is of names and sizes only.
        """
        same = dataset.fingerprint == self.dataset_fingerprint and len(dataset) == len(self.rows)
        indices = np.arange(len(dataset))
        rows = indices if same else self._find([dataset.key(index) for index in range(len(dataset))])
        self.compare_images(dataset, indices, rows, sample=COMPARED_AGAIN if same else COMPARED)
        return self._part(rows, dataset, indices)

    def of_images(self, images: ImageSource, indices: npt.NDArray[np.int64]) -> CachedRows:
        """The rows of some images of any source, in the order of `indices` (M,); they are found by their keys.

        Raises:
            ModelFileError: as of `of`.
        """
        rows = self._find([images.key(index) for index in indices.tolist()])
        self.compare_images(images, indices, rows, sample=COMPARED)
        return self._part(rows, images, indices)

    def _part(self, rows: npt.NDArray[np.int64], images: ImageSource, indices: npt.NDArray[np.int64]) -> CachedRows:
        found = self.rows.part(rows, lambda place: images.key(int(indices[place])))
        found.check()
        return found

    def _find(self, wanted: list[str]) -> npt.NDArray[np.int64]:
        row_of = {key: row for row, key in enumerate(self.keys)}
        missing = [key for key in wanted if key not in row_of]
        if missing:
            raise ModelFileError(
                f"the cache lacks {len(missing)} of {len(wanted)} images, the first of them '{shown_name(missing[0])}'",
                place=self.place or None,
                next_step="It was made of another data set; make one of this with facedistill embed",
            )
        return np.array([row_of[key] for key in wanted], dtype=np.int64)

    def compare_images(
        self, images: ImageSource, indices: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], *, sample: int
    ) -> None:
        """ModelFileError where an image of a sample is not what it was: equal names prove little, 000001 least.

        Images without an embedding are left out, since they may have been mended, and those of unknown checksum.

        Args:
            images: where they come from.
            indices: (M,) which of them.
            rows: (M,) the row of each.
            sample: how many are compared.
        """
        comparable = np.flatnonzero(self.rows.present[rows] & (self.checksums[rows] != 0))
        drawn = np.random.default_rng(0).permutation(comparable)[:sample]
        others = [
            index
            for index, row in zip(indices[drawn].tolist(), rows[drawn].tolist(), strict=True)
            if checksum(images, index) not in (0, int(self.checksums[row]))
        ]
        if others:
            raise ModelFileError(
                f"the cache was made of other images of the same names: {len(others)} of {len(drawn)} compared are "
                f"different, such as '{shown_name(images.key(others[0]))}'",
                place=self.place or None,
                next_step="Make one of this data set with facedistill embed",
            )


def make_cache(embedder: Embedder, dataset: FaceDataset, embedded: EmbeddedDataset) -> EmbeddingCache:
    """A cache in memory of what `embed_dataset` gave for the whole of `dataset`, mirrored images included."""
    if embedded.mirrored is None:
        raise ValueError("a cache needs the embeddings of the mirrored images too")
    return EmbeddingCache.in_memory(
        [dataset.key(index) for index in range(len(dataset))],
        embedded.original,
        embedded.mirrored,
        embedder.name,
        embedder.fingerprint,
        embedder.preprocessing,
        dataset.fingerprint,
        np.array([checksum(dataset, index) for index in range(len(dataset))], dtype=np.uint32),
    )


def checksum(images: ImageSource, index: int) -> int:
    """The CRC-32 of an image's stored bytes, 0 where they cannot be read."""
    try:
        return zlib.crc32(images.encoded(index))
    except DataError:
        return 0


def save_cache(path: Path, cache: EmbeddingCache) -> None:
    """Write a cache that is held in memory into a folder, as a finished one; a cache there is replaced.

    Raises:
        ModelFileError: an embedding has the norm 0 or is infinite.
        UsageError: the folder holds anything else than a cache.
    """
    cache.rows.check()
    path.mkdir(parents=True, exist_ok=True)
    refuse_strangers(path)
    clear_files(path)
    manifest = replace(cache.manifest, finished=False)
    create_files(path, manifest, cache.keys)
    with RowWriter(path, manifest) as writer:
        for which, original, mirrored in cache.rows.pieces():
            indices = np.arange(which.start, which.stop)
            writer.write(EmbeddedBatch(indices, original, mirrored), cache.checksums[which])
    missing = int((~cache.rows.present).sum())
    replace(manifest, finished=True, missing=missing).write(path)
    (path / DONE).unlink()


def is_cache(path: Path) -> bool:
    """Whether there is a cache of embeddings at `path`, finished or not, of this version or the first."""
    return is_cache_folder(path) if path.is_dir() else is_first_version(path)


def is_first_version(path: Path) -> bool:
    """Whether a file is a cache of version 1, which was a single file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="np") as stream:
            return (stream.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_cache(path: Path) -> EmbeddingCache:
    """Open a finished cache; its rows stay in the file until they are looked up.

    Raises:
        ModelFileError: it is not finished, is damaged, is none, or is of another version.
    """
    if is_first_version(path):
        raise ModelFileError(
            "the cache was made by an earlier version of facedistill",
            place=path,
            next_step="Make it again with facedistill embed; a cache is a folder now",
        )
    if not path.is_dir() or not is_cache_folder(path):
        raise ModelFileError("there is no cache of embeddings here", place=path, next_step=MAKE_ONE)
    manifest = read_manifest(path)
    if not manifest.finished:
        raise ModelFileError(
            f"the cache is not finished: {images_done(path, manifest)} of {manifest.images} images are embedded",
            place=path,
            next_step="Run facedistill embed again, as before; it goes on where it was",
        )
    return open_cache(path, manifest)


def open_cache(path: Path, manifest: Manifest) -> EmbeddingCache:
    """The cache at `path` as far as it is written; ModelFileError where its files are not what the manifest says."""
    images = manifest.images
    directions = map_array(path / DIRECTIONS, (images, 2, manifest.embedding_size), np.float16)
    norms = map_array(path / NORMS, (images, 2), np.float32)
    checksums = map_array(path / CHECKSUMS, (images,), np.uint32)
    if not (path / KEYS).is_file():
        raise ModelFileError(f"the cache is damaged: it has no {KEYS}", place=path, next_step=MAKE_AGAIN)

    def keys() -> list[str]:
        return read_keys(path, images)

    rows = CachedRows(directions, norms, key_of=lambda index: keys()[index], place=str(path))
    return EmbeddingCache(manifest, rows, keys, checksums, str(path))
