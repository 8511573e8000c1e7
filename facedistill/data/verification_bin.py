"""The `.bin` pair sets of insightface (LFW, CFP-FP, AgeDB-30, ...): read without trusting them, and written.

File format: a pickle of a 2-tuple (encoded images, flags). The images are a list of encoded image byte strings, of
which 2k and 2k + 1 form pair k; the flags are a list of booleans, one a pair, true where both show one person. Most
of the published files were written by Python 2, and some hold uint8 arrays where others hold byte strings.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image
from facedistill.errors import DataError


@dataclass(frozen=True, eq=False)
class VerificationBin:
    """The images of a `.bin` file, decoded when they are asked for, and its flags.

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

    def __len__(self) -> int:
        return len(self.images)

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
    """Read a `.bin` file with an unpickler that knows byte strings, lists, tuples, booleans and numpy arrays only.

    Raises:
        DataError: the file cannot be read, is no pickle, asks for a class that a pair set has no use for (none of
            its code runs), or does not hold images and flags that belong together.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", place=path) from error
    images, flags = _two_parts(_unpickle(content, path), path)
    encoded = [_encoded_image(item, path, index) for index, item in enumerate(images)]
    same = np.array([_flag(item, path, index) for index, item in enumerate(flags)], dtype=np.bool_)
    if len(encoded) % 2:
        raise DataError(f"it holds {len(encoded)} images, which do not make pairs", place=path)
    if len(same) != len(encoded) // 2:
        raise DataError(f"it holds {len(encoded) // 2} pairs of images and {len(same)} flags", place=path)
    if not encoded:
        raise DataError("it holds no pairs", place=path)
    return VerificationBin(path, encoded, same, hashlib.sha256(content).hexdigest())


def write_bin(path: Path, encoded: Sequence[bytes], same: Sequence[bool] | npt.NDArray[np.bool_]) -> None:
    """Write a `.bin` file that insightface's own reader takes.

    Args:
        path: the file; its folder is made where it is missing.
        encoded: 2P encoded images (JPEG or PNG); 2k and 2k + 1 form pair k.
        same: P flags.

    Raises:
        DataError: the numbers of images and flags do not belong together.
    """
    if len(encoded) != 2 * len(same):
        raise DataError(f"{len(encoded)} images and {len(same)} flags do not make pairs", place=path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ([bytes(item) for item in encoded], [bool(flag) for flag in same])
    path.write_bytes(pickle.dumps(content, protocol=4))


def _unpickle(content: bytes, path: Path) -> Any:
    try:
        return _PairSetUnpickler(content, path).load()
    except DataError:
        raise
    except Exception as error:  # Bytes that are no pickle make the unpickler fail in more ways than it documents.
        raise DataError(
            f"it is no pickle of a pair set ({type(error).__name__}: {error})",
            place=path,
            next_step="A .bin file is a pickled tuple (encoded images, flags)",
        ) from error


class _PairSetUnpickler(pickle.Unpickler):
    """Looks every name up in a list of what builds byte strings and arrays, and refuses all others."""

    def __init__(self, content: bytes, path: Path) -> None:
        # Python 2 wrote images as its str type, which must come back as bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path
        self._allowed = _allowed_callables()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise DataError(
                f"the pickle asks for '{module}.{name}', which a pair set has no use for; nothing of it was run",
                place=self._path,
                next_step="Do not open this file with an ordinary unpickler",
            )
        return self._allowed[module, name]


def _allowed_callables() -> dict[tuple[str, str], Callable[..., Any]]:
    """(module, name) as pickles write them -> what is called in its place.

    Functions are made anew for each file: a pickle can set attributes of what it is given.
    """

    def encode(text: str, encoding: object = "latin1", *_: object) -> bytes:
        if encoding not in ("latin1", "latin-1", b"latin1"):
            raise ValueError(f"byte strings are written as latin1, not {encoding}")
        return text.encode("latin1")

    def reconstruct(_kind: object, shape: object, _typecode: object) -> npt.NDArray[np.int8]:
        # The type is always the plain array, and empty until its state is set, whatever the pickle says.
        return np.ndarray((0,), dtype=np.int8)

    def scalar(dtype: np.dtype[Any], data: bytes) -> Any:
        return np.frombuffer(data, dtype=dtype)[0]

    def from_buffer(buffer: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: str = "C") -> npt.NDArray[Any]:
        return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")

    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): encode,
    }
    for core in ("numpy.core", "numpy._core"):
        allowed[f"{core}.multiarray", "_reconstruct"] = reconstruct
        allowed[f"{core}.multiarray", "scalar"] = scalar
        allowed[f"{core}.numeric", "_frombuffer"] = from_buffer
    for builtins in ("builtins", "__builtin__"):
        allowed[builtins, "bytes"] = bytes
        allowed[builtins, "bytearray"] = bytearray
        allowed[builtins, "bool"] = bool
    return allowed


def _two_parts(content: Any, path: Path) -> tuple[Sequence[Any], Sequence[Any]]:
    listed = (list, tuple, np.ndarray)
    if isinstance(content, (tuple, list)) and len(content) == 2:
        images, flags = content
        if isinstance(images, listed) and isinstance(flags, listed):
            return list(images), list(flags)
    raise DataError(
        f"it holds {_describe(content)}",
        place=path,
        next_step="A .bin file is a pickled tuple (list of encoded images, list of flags)",
    )


def _describe(content: Any) -> str:
    if isinstance(content, (tuple, list)) and len(content) == 2:
        return f"a tuple ({type(content[0]).__name__}, {type(content[1]).__name__})"
    size = f" with {len(content)} items" if hasattr(content, "__len__") else ""
    return f"one object of type {type(content).__name__}{size}"


def _encoded_image(item: Any, path: Path, index: int) -> bytes:
    if isinstance(item, (bytes, bytearray)):
        return bytes(item)
    if isinstance(item, np.ndarray) and item.dtype == np.uint8:
        return item.tobytes()
    kind = f"array of {item.dtype}" if isinstance(item, np.ndarray) else type(item).__name__
    raise DataError(f"image {index} is of type {kind}, not a byte string", place=path)


def _flag(item: Any, path: Path, index: int) -> bool:
    if isinstance(item, (bool, np.bool_)) or (isinstance(item, (int, np.integer)) and item in (0, 1)):
        return bool(item)
    raise DataError(f"the flag of pair {index} is {item!r}, not a boolean", place=path)
