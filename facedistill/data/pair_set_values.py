"""What the names in the pickle of a pair set stand for, and what is built of them from checked arguments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from facedistill.shown_name import shown_name


class PickledName(Enum):
    """What a name in a pickle stands for; a token that cannot be called."""

    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    RECONSTRUCT = "multiarray._reconstruct"
    SCALAR = "multiarray.scalar"
    FROM_BUFFER = "numeric._frombuffer"
    ENCODE = "_codecs.encode"
    BYTES = "bytes"


KNOWN_NAMES = {
    ("numpy", "ndarray"): PickledName.NDARRAY,
    ("numpy", "dtype"): PickledName.DTYPE,
    ("_codecs", "encode"): PickledName.ENCODE,
}
for _core in ("numpy.core", "numpy._core"):
    KNOWN_NAMES[f"{_core}.multiarray", "_reconstruct"] = PickledName.RECONSTRUCT
    KNOWN_NAMES[f"{_core}.multiarray", "scalar"] = PickledName.SCALAR
    KNOWN_NAMES[f"{_core}.numeric", "_frombuffer"] = PickledName.FROM_BUFFER
for _builtins in ("builtins", "__builtin__"):
    KNOWN_NAMES[_builtins, "bytes"] = KNOWN_NAMES[_builtins, "bytearray"] = PickledName.BYTES


class Dtype(Enum):
    """The two types of array that a pair set holds."""

    UINT8 = "u1"
    BOOL = "b1"


@dataclass(frozen=True)
class PickledText:
    """A text as its latin-1 bytes: what Python 3 makes of byte strings under protocols 0 to 2."""

    latin1: bytes

    def __str__(self) -> str:
        return self.latin1.decode("latin1")


class PickledArray:
    """The bytes of an array in C order; `data` is None until the pickle has given them."""

    __slots__ = ("data", "dtype")

    def __init__(self, dtype: Dtype | None = None, data: bytes | None = None) -> None:
        self.dtype = dtype
        self.data = data


def build_value(name: PickledName, arguments: tuple[Any, ...]) -> Any:
    """What `name` makes of `arguments`; None where it is not known to be asked for that."""
    match name, arguments:
        case PickledName.RECONSTRUCT, (PickledName.NDARRAY, (0,), kind) if spelled(kind) == "b":
            return PickledArray()
        case PickledName.SCALAR, (Dtype.BOOL, b"\0" | b"\1" as data):
            return data == b"\1"
        case PickledName.ENCODE | PickledName.BYTES, (PickledText() as text, encoding):
            return text.latin1 if spelled(encoding) in ("latin1", "latin-1") else None
        case PickledName.BYTES, ():
            return b""
        case PickledName.BYTES, (bytes() as data,):
            return data
        case PickledName.DTYPE, (kind, int(), int()) if spelled(kind) in ("u1", "b1"):
            return Dtype(spelled(kind))
        case PickledName.FROM_BUFFER, (bytes() as data, Dtype() as dtype, shape, order):
            if spelled(order) in ("C", "F") and is_c_order(shape, len(data), spelled(order) == "F"):
                return PickledArray(dtype, data)
    return None


def spelled(item: Any) -> str | None:
    """A short string of Python 2 or 3; None for anything else."""
    if isinstance(item, PickledText):
        item = item.latin1
    return item.decode("latin1") if isinstance(item, bytes) and len(item) < 16 else None


def described_arguments(arguments: tuple[Any, ...]) -> str:
    """What a call was given, in a few words."""
    words = [type(item).__name__ if spelled(item) is None else f"'{spelled(item)}'" for item in arguments[:4]]
    return shown_name(", ".join(words))


def is_plain_dtype_state(state: tuple[Any, ...]) -> bool:
    """Whether it is what numpy writes for a type of one byte: no fields, no sub-array, no flags."""
    if len(state) != 8 or spelled(state[1]) != "|":
        return False
    return (state[0], *state[2:]) == (3, None, None, None, -1, -1, 0)


def is_c_order(shape: Any, size: int, fortran: Any) -> bool:
    """Whether `size` items make an array of `shape` whose bytes in order are those of C order."""
    if shape == (size,):
        return True
    if not isinstance(shape, tuple) or len(shape) > 32:
        return False
    if not all(isinstance(side, int) and side >= 0 for side in shape):
        return False
    count = 1
    for side in shape:
        count *= side
    return count == size and (not fortran or sum(side > 1 for side in shape) < 2)
