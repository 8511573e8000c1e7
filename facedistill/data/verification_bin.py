"""The `.bin` pair sets of insightface (LFW, CFP-FP, AgeDB-30, ...): read without trusting them, and written.

File format: a pickle of a 2-tuple (encoded images, flags). The images are a list of encoded image byte strings, of
which 2k and 2k + 1 form pair k; the flags are a list of booleans, one a pair, true where both show one person. Most
of the published files were written by Python 2, and some hold uint8 arrays where others hold byte strings.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image
from facedistill.data.pair_set_pickle import load_pair_set_pickle
from facedistill.data.pair_set_values import Dtype, PickledArray, PickledText
from facedistill.errors import DataError
from facedistill.files import write_atomically
from facedistill.shown_name import shown_name


@dataclass(frozen=True, eq=False)
class VerificationBin:
    """The images of a `.bin` file, decoded when they are asked for, and its flags.

    A `FaceDataset`: an identity is what genuine pairs and equal bytes join, directly or through other images. Two such
    identities may still be one person whom no genuine pair of the file joins, so the labels are good for looking at
    the images and for converting them, and not for training.

    Args:
        path: the file, for messages.
        images: 2P encoded images; 2k and 2k + 1 form pair k.
        same: (P,) bool, whether the two images of a pair show one person.
        sha256: the SHA-256 of the file, as hex; published copies of one set differ.
    """

    path: Path
    images: list[bytes] = field(repr=False)
    same: npt.NDArray[np.bool_] = field(repr=False)
    sha256: str

    @property
    def pairs(self) -> npt.NDArray[np.int64]:
        """(P, 2) int64 indices of images."""
        return np.arange(len(self.images), dtype=np.int64).reshape(-1, 2)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """(2P,) int64, the identity of each image, numbered in the order of their first images."""
        return _components(self.images, self.same)

    @cached_property
    def identities(self) -> list[str]:
        """The identities by label: person_000001 and so on, since the file holds no names."""
        return [f"person_{label + 1:06d}" for label in range(int(self.labels.max(initial=-1)) + 1)]

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the file, as hex."""
        return self.sha256

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process reads the file itself rather than being sent all of it.
        return _read_again, (self.path, self.sha256)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Image `index` as (H, W, 3) uint8 RGB; raises DataError with the index where it cannot be decoded."""
        return decode_image(self.images[index], place=f"{self.path}, image {index}")

    def encoded(self, index: int) -> bytes:
        """The bytes of image `index`."""
        return self.images[index]

    def key(self, index: int) -> str:
        """The file's name and the index."""
        return f"{self.path.name}[{index}]"


def read_bin(path: Path) -> VerificationBin:
    """Read a `.bin` file, whoever wrote it: byte strings, lists, tuples, booleans, numpy arrays of bytes or booleans.

    Raises:
        DataError: the file cannot be read, is no pickle, asks for anything that a pair set has no use for (nothing of
            it is run, see `load_pair_set_pickle`), or does not hold images and flags that belong together.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", place=path) from error
    return parse_bin(content, path)


def parse_bin(content: bytes, path: Path) -> VerificationBin:
    """The pair set that the bytes of a `.bin` file hold; DataError as from `read_bin`, with `path` as the place."""
    images, flags = _two_parts(load_pair_set_pickle(content, place=path), path)
    encoded = [_encoded_image(item, path, index) for index, item in enumerate(images)]
    same = np.fromiter((_flag(item, path, index) for index, item in enumerate(flags)), np.bool_, len(flags))
    if len(encoded) % 2:
        raise DataError(f"it holds {len(encoded)} images, which do not make pairs", place=path)
    if len(same) != len(encoded) // 2:
        raise DataError(f"it holds {len(encoded) // 2} pairs of images and {len(same)} flags", place=path)
    if not encoded:
        raise DataError("it holds no pairs", place=path)
    return VerificationBin(path, encoded, same, hashlib.sha256(content).hexdigest())


def write_bin(path: Path, encoded: Sequence[bytes], same: Sequence[bool] | npt.NDArray[np.bool_]) -> None:
    """Write a `.bin` file that insightface's own reader takes, whole or not at all.

    Args:
        path: the file; its folder is made where it is missing.
        encoded: 2P encoded images (JPEG or PNG); 2k and 2k + 1 form pair k.
        same: P flags.

    Raises:
        DataError: the numbers of images and flags do not belong together.
    """
    if len(encoded) != 2 * len(same):
        raise DataError(f"{len(encoded)} images and {len(same)} flags do not make pairs", place=path)
    content = ([bytes(item) for item in encoded], [bool(flag) for flag in same])
    write_atomically(path, pickle.dumps(content, protocol=4))


def _read_again(path: Path, sha256: str) -> VerificationBin:
    content = read_bin(path)
    if content.sha256 != sha256:
        raise DataError("the file has changed since it was opened", place=path, next_step="Start again")
    return content


def _components(images: Sequence[bytes], same: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The connected component of each image, by union-find, numbered by first occurrence."""
    first: dict[bytes, int] = {}
    parent = [first.setdefault(encoded, index) for index, encoded in enumerate(images)]

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]  # halves the path, so that chains of pairs stay short
            index = parent[index]
        return index

    for pair in np.flatnonzero(same).tolist():
        one, other = root(2 * pair), root(2 * pair + 1)
        # The earlier image is the root: components are then numbered in the order of their roots.
        parent[max(one, other)] = min(one, other)
    roots = np.fromiter((root(index) for index in range(len(images))), np.int64, len(images))
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _two_parts(content: Any, path: Path) -> tuple[Sequence[Any], Sequence[Any] | npt.NDArray[np.uint8]]:
    if isinstance(content, (tuple, list)) and len(content) == 2:
        images, flags = content
        if isinstance(flags, PickledArray) and flags.dtype is Dtype.BOOL and flags.data is not None:
            flags = np.frombuffer(flags.data, dtype=np.uint8)
        if isinstance(images, (list, tuple)) and isinstance(flags, (list, tuple, np.ndarray)):
            return images, flags
    raise DataError(
        f"it holds {_described(content)}",
        place=path,
        next_step="A .bin file is a pickled tuple (list of encoded images, list of flags)",
    )


def _described(content: Any) -> str:
    if isinstance(content, (tuple, list)) and len(content) == 2:
        return f"a tuple ({_kind(content[0])}, {_kind(content[1])})"
    size = f" with {len(content)} items" if hasattr(content, "__len__") else ""
    return f"one object of type {_kind(content)}{size}"


def _kind(item: Any) -> str:
    if isinstance(item, PickledText):
        return "str"
    if isinstance(item, PickledArray):
        return f"array of {item.dtype.name.lower() if item.dtype else 'nothing'}"
    return type(item).__name__


def _encoded_image(item: Any, path: Path, index: int) -> bytes:
    if isinstance(item, PickledArray) and item.dtype is Dtype.UINT8 and item.data is not None:
        return item.data
    if isinstance(item, bytes):
        return item
    raise DataError(f"image {index} is of type {_kind(item)}, not a byte string", place=path)


def _flag(item: Any, path: Path, index: int) -> bool:
    number = int(item) if isinstance(item, (int, np.uint8)) else None
    if number in (0, 1):
        return number == 1
    shown = f"'{item}'" if isinstance(item, PickledText) else _kind(item) if number is None else str(number)
    raise DataError(f"the flag of pair {index} is {shown_name(shown)}, not a boolean", place=path)
