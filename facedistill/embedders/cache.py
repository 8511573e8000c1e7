"""A cache of embeddings on disk: a teacher is run once, and every student of it reads the result."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.embed_dataset import EmbeddedDataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import DataError, ModelFileError
from facedistill.files import write_atomically
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name

FORMAT = "facedistill-embeddings"
COMPARED = 1000
"""Images whose bytes are compared where a cache serves another data set than it was made of (ours)."""


@dataclass(frozen=True)
class EmbeddingCache:
    """The embeddings of a data set's images and of their mirror images, by key, as the model gave them.

    Args:
        keys: the N images.
        original: (N, D) float32, not normalised.
        mirrored: (N, D) float32, not normalised.
        model: name of the model.
        model_fingerprint: SHA-256 of its weights file.
        preprocessing: what the model did to the crops.
        dataset_fingerprint: of the data set that was embedded.
        checksums: (N,) uint32, the CRC-32 of each image's stored bytes, which are the same in every format.
        place: the file it was read from.
    """

    keys: list[str]
    original: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.float32]
    model: str
    model_fingerprint: str
    preprocessing: Preprocessing
    dataset_fingerprint: str
    checksums: npt.NDArray[np.uint32]
    place: str = ""

    @property
    def embedding_size(self) -> int:
        """D."""
        return int(self.original.shape[1])

    def of(self, dataset: FaceDataset) -> EmbeddedDataset:
        """The rows of `dataset`'s images, in its order; it may be a part of what was embedded, or it in another format.

        Raises:
            ModelFileError: an image is not in the cache, or was another when it was embedded. Where the data set is
                not the very one that was embedded, a sample of the images is compared for that.
        """
        row_of = {key: row for row, key in enumerate(self.keys)}
        wanted = [dataset.key(index) for index in range(len(dataset))]
        missing = [key for key in wanted if key not in row_of]
        if missing:
            raise ModelFileError(
                f"the cache lacks {len(missing)} of {len(wanted)} images, the first of them '{shown_name(missing[0])}'",
                place=self.place or None,
                next_step="It was made of another data set; make one of this with facedistill embed",
            )
        rows = np.array([row_of[key] for key in wanted], dtype=np.int64)
        if dataset.fingerprint != self.dataset_fingerprint:
            self._compare_sample(dataset, rows)
        return EmbeddedDataset(self.original[rows], self.mirrored[rows], ())

    def _compare_sample(self, dataset: FaceDataset, rows: npt.NDArray[np.int64]) -> None:
        """ModelFileError where an image of a sample is not what it was: equal names prove little, 000001 least."""
        sample = np.random.default_rng(0).permutation(len(dataset))[:COMPARED].tolist()
        others = [index for index in sample if checksum(dataset, index) not in (0, int(self.checksums[rows[index]]))]
        if others:
            raise ModelFileError(
                f"the cache was made of other images of the same names: {len(others)} of {len(sample)} compared are "
                f"different, such as '{shown_name(dataset.key(others[0]))}'",
                place=self.place or None,
                next_step="Make one of this data set with facedistill embed",
            )


def make_cache(embedder: Embedder, dataset: FaceDataset, embedded: EmbeddedDataset) -> EmbeddingCache:
    """A cache of what `embed_dataset` gave for the whole of `dataset`, mirrored images included."""
    if embedded.mirrored is None:
        raise ValueError("a cache needs the embeddings of the mirrored images too")
    return EmbeddingCache(
        keys=[dataset.key(index) for index in range(len(dataset))],
        original=embedded.original,
        mirrored=embedded.mirrored,
        model=embedder.name,
        model_fingerprint=embedder.fingerprint,
        preprocessing=embedder.preprocessing,
        dataset_fingerprint=dataset.fingerprint,
        checksums=np.array([checksum(dataset, index) for index in range(len(dataset))], dtype=np.uint32),
    )


def checksum(dataset: FaceDataset, index: int) -> int:
    """The CRC-32 of an image's stored bytes, 0 where they cannot be read."""
    try:
        return zlib.crc32(dataset.encoded(index))
    except DataError:
        return 0


def save_cache(path: Path, cache: EmbeddingCache) -> None:
    """Write a cache as one safetensors file, atomically."""
    metadata = {
        "format": FORMAT,
        "keys": json.dumps(cache.keys),
        "model": cache.model,
        "model_fingerprint": cache.model_fingerprint,
        "preprocessing": json.dumps(cache.preprocessing.to_dict()),
        "dataset_fingerprint": cache.dataset_fingerprint,
    }
    tensors = {"original": cache.original, "mirrored": cache.mirrored, "checksums": cache.checksums}
    write_atomically(path, save(tensors, metadata=metadata))


def is_cache(path: Path) -> bool:
    """Whether the file at `path` is a cache of embeddings."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="np") as stream:
            return (stream.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_cache(path: Path) -> EmbeddingCache:
    """Read a cache written by `save_cache`; ModelFileError where it is none or is damaged."""
    try:
        with safe_open(path, framework="np") as stream:
            metadata = stream.metadata() or {}
            original, mirrored = stream.get_tensor("original"), stream.get_tensor("mirrored")
            checksums = stream.get_tensor("checksums")
        return EmbeddingCache(
            keys=json.loads(metadata["keys"]),
            original=original,
            mirrored=mirrored,
            model=metadata["model"],
            model_fingerprint=metadata["model_fingerprint"],
            preprocessing=Preprocessing.from_dict(json.loads(metadata["preprocessing"]), place=path),
            dataset_fingerprint=metadata["dataset_fingerprint"],
            checksums=checksums,
            place=str(path),
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelFileError(f"the cache of embeddings cannot be read ({error})", place=path) from error
