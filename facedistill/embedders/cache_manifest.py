"""What a cache of embeddings says of itself: the teacher, its preprocessing, the data, and whether it is finished.

A cache is a folder:

- `manifest.json`: what this module reads and writes;
- `keys.json`: the keys of the N images, a list of JSON strings;
- `directions.npy`: (N, 2, D) float16, the embedding of each image and of its mirror image, divided by its norm;
- `norms.npy`: (N, 2) float32, those norms; NaN where the image could not be decoded;
- `checksums.npy`: (N,) uint32, the CRC-32 of each image's stored bytes, 0 where they could not be read;
- `done.npy`: (blocks,) uint8, 1 for each block of rows that is written; only until the cache is finished.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.embedder import Embedder
from facedistill.errors import ModelFileError
from facedistill.files import force_to_disk, write_atomically
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name

FORMAT = "facedistill-embeddings"
VERSION = 2
"""Version 1 was a single .safetensors file."""

MANIFEST = "manifest.json"
KEYS = "keys.json"
DIRECTIONS = "directions.npy"
NORMS = "norms.npy"
CHECKSUMS = "checksums.npy"
DONE = "done.npy"
LOCK = ".lock"
OWN_NAMES = frozenset({MANIFEST, KEYS, DIRECTIONS, NORMS, CHECKSUMS, DONE, LOCK, f".{MANIFEST}.partial"})
"""All that the folder of a cache may hold; only such a folder is written over."""

MAKE_AGAIN = "Make it again with facedistill embed --overwrite"

MOST = 1 << 40
"""No number in a manifest is larger (ours)."""


@dataclass(frozen=True)
class Manifest:
    """What is known of a cache without reading its rows.

    Args:
        model: name of the teacher.
        model_fingerprint: SHA-256 of its weights file.
        preprocessing: what it does to the crops.
        embedding_size: D.
        dataset_fingerprint: of the data set that is embedded.
        images: N.
        block: rows that are written, and known to be done, together.
        finished: whether all of them are.
        missing: images without an embedding, once it is finished.
    """

    model: str
    model_fingerprint: str
    preprocessing: Preprocessing
    embedding_size: int
    dataset_fingerprint: str
    images: int
    block: int = 64
    finished: bool = True
    missing: int = 0

    @classmethod
    def of(cls, embedder: Embedder, dataset: FaceDataset, *, block: int) -> Manifest:
        """That of an unfinished cache."""
        return cls(
            embedder.name,
            embedder.fingerprint,
            embedder.preprocessing,
            embedder.embedding_size,
            dataset.fingerprint,
            len(dataset),
            min(block, MOST),
            finished=False,
        )

    @property
    def blocks(self) -> int:
        """How many there are."""
        return -(-self.images // self.block)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(blocks,) the rows of each; the last may have fewer."""
        lengths = np.full(self.blocks, self.block, dtype=np.int64)
        lengths[-1] = self.images - self.block * (self.blocks - 1)
        return lengths

    def difference(self, embedder: Embedder) -> str | None:
        """In what `embedder` is not the teacher of this cache, with both sides named; None if it is."""
        if self.model_fingerprint != embedder.fingerprint:
            return (
                f"of another teacher: {shown_name(self.model)} (weights {self.model_fingerprint[:12] or 'unknown'}), "
                f"and this one is {shown_name(embedder.name)} (weights {embedder.fingerprint[:12] or 'unknown'})"
            )
        if self.embedding_size != embedder.embedding_size:
            return (
                f"of embeddings of {self.embedding_size} dimensions, and this teacher's have {embedder.embedding_size}"
            )
        if self.preprocessing != embedder.preprocessing:
            return (
                f"of the same teacher with another preprocessing: {self.preprocessing}, {self.preprocessing.layout}, "
                f"and now it is {embedder.preprocessing}, {embedder.preprocessing.layout}"
            )
        return None

    def other_data(self, dataset: FaceDataset) -> str | None:
        """In what a data set is not the one that was embedded, with both sides named; None if it is."""
        if self.images != len(dataset):
            return f"of {self.images} images, and the data set has {len(dataset)}"
        if self.dataset_fingerprint != dataset.fingerprint:
            return (
                f"of another data set of {self.images} images (fingerprint {self.dataset_fingerprint[:12]}, and this "
                f"one's is {dataset.fingerprint[:12]})"
            )
        return None

    def write(self, folder: Path) -> None:
        """Write `manifest.json`, whole or not at all."""
        values: dict[str, Any] = {"format": FORMAT, "version": VERSION, **asdict(self), "dtype": "float16"}
        write_atomically(folder / MANIFEST, (json.dumps(values, indent=2) + "\n").encode())
        force_to_disk(folder / MANIFEST)
        force_to_disk(folder)


def read_manifest(folder: Path) -> Manifest:
    """What `Manifest.write` wrote.

    Raises:
        ModelFileError: there is none, it is damaged, or of a version that is not known.
    """
    try:
        values = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError("it is none of a cache of embeddings")
        version = values["version"]
    except FileNotFoundError as error:
        raise ModelFileError(
            "the cache was only begun: not one image is in it",
            place=folder,
            next_step="Run facedistill embed again, as before",
        ) from error
    except (OSError, ValueError, KeyError, RecursionError) as error:
        # Such a file may be anybody's, so that facedistill embed does not write over it.
        raise ModelFileError(
            f"the cache is damaged: its {MANIFEST} cannot be read ({error})",
            place=folder,
            next_step="If it is a cache, delete the folder, and make it again with facedistill embed",
        ) from error
    if version != VERSION:
        raise ModelFileError(
            f"the cache is of version {shown_name(str(version))}, and this facedistill reads version {VERSION}",
            place=folder,
            next_step="Update facedistill, or make the cache again with facedistill embed --overwrite",
        )
    try:
        manifest = Manifest(
            model=str(values["model"]),
            model_fingerprint=str(values["model_fingerprint"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"], place=folder),
            embedding_size=_whole_number(values["embedding_size"]),
            dataset_fingerprint=str(values["dataset_fingerprint"]),
            images=_whole_number(values["images"]),
            block=_whole_number(values["block"]),
            finished=values["finished"] is True,
            missing=_whole_number(values["missing"]),
        )
        if min(manifest.embedding_size, manifest.images, manifest.block) < 1 or values["dtype"] != "float16":
            raise ValueError("its sizes make no sense")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"the cache is damaged: its {MANIFEST} cannot be read ({error})", place=folder, next_step=MAKE_AGAIN
        ) from error
    return manifest


def is_cache_folder(path: Path) -> bool:
    """Whether a folder holds a cache, finished or not, damaged or not."""
    return (path / DIRECTIONS).is_file() or is_own_manifest(path / MANIFEST)


def is_own_manifest(file: Path) -> bool:
    """Whether a file is the manifest of a cache of embeddings, of whatever version."""
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def _whole_number(value: object) -> int:
    """A number of the manifest; ValueError where it is none from 0 to `MOST`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError(f"{shown_name(str(value))} is no number of things")
    return value
