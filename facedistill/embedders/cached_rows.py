"""A teacher's embeddings of a data set, looked up row by row: directions in half precision, norms beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import torch

from facedistill.errors import DataError, ModelFileError
from facedistill.shown_name import shown_name

LENGTH_TOLERANCE = 0.01
"""How far the length of a stored direction may be from 1 (ours); rounding to float16 moves it by less than 0.0005."""

SHORTEST, LONGEST = 1e-15, 1e15
"""Norms beyond these are none of an embedding (ours): their squares are hardly held by single precision."""

PIECE = 8192
"""Images whose rows are turned into float32 at once where all of them are gone through (ours)."""

FloatArray = npt.NDArray[np.float32]
AnyFloat = npt.NDArray[np.float16] | npt.NDArray[np.float32]


class TeacherRows(Protocol):
    """What a teacher made of N images and of their mirror images."""

    def __len__(self) -> int: ...

    @property
    def embedding_size(self) -> int:
        """T, the length of an embedding."""
        ...

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(N,) which images have an embedding; corrupt ones have none."""
        ...

    def lookup(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> FloatArray:
        """(B,) indices and (B,) flags -> (B, T) float32: of each image, or of its mirror image, the embedding."""
        ...

    def pieces(self) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """All rows in order, some at a time: which they are, the originals and the mirrored, NaN where missing."""
        ...

    def raw(self, indices: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """(B,) indices -> original and mirrored of these images, (B, T) float32 each, NaN where missing."""
        ...

    def all(self) -> tuple[FloatArray, FloatArray]:
        """Original and mirrored, (N, T) float32 each, NaN where missing; 8 N T bytes of memory."""
        ...


def split_norms(embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N, T) embeddings -> their directions (N, T), of length 1, and norms (N,); the product is the embedding.

    A row that is NaN has the norm NaN and a row of zeros the norm 0; the direction of both is zero.
    """
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    with np.errstate(over="ignore"):
        norms = np.sqrt(squares).astype(np.float32)
    usable = (norms > 0) & np.isfinite(norms)
    directions = np.zeros_like(embeddings, dtype=np.float32)
    np.divide(embeddings, norms[:, np.newaxis], out=directions, where=usable[:, np.newaxis])
    return directions, norms


def _to_float32(rows: AnyFloat) -> FloatArray:
    """The same in single precision: by torch, in a fifteenth of the time that numpy takes."""
    converted: FloatArray = torch.from_numpy(rows).float().numpy()
    return converted


def joined_pieces(rows: TeacherRows) -> tuple[FloatArray, FloatArray]:
    """All the pieces of some rows as two arrays in memory, (N, T) float32 each."""
    original = np.empty((len(rows), rows.embedding_size), dtype=np.float32)
    mirrored = np.empty_like(original)
    for which, of_originals, of_mirrored in rows.pieces():
        original[which], mirrored[which] = of_originals, of_mirrored
    return original, mirrored


class CachedRows:
    """Embeddings as unit directions and norms, in memory or mapped from a file; nothing is read before it is asked for.

    Args:
        directions: (M, 2, T) or (2 M, T) float16 or float32, of length 1; of each image and of its mirror image.
        norms: (M, 2) float32; NaN says that the image has no embedding. 0 and infinity are no norms: see `check`.
        rows: (N,) which of the M rows are meant, in which order; None for all.
        key_of: the name of image 0 .. N - 1, for messages.
        place: the cache, for messages.
    """

    def __init__(
        self,
        directions: AnyFloat,
        norms: FloatArray,
        *,
        rows: npt.NDArray[np.int64] | None = None,
        key_of: Callable[[int], str] = str,
        place: str = "",
    ) -> None:
        # Two dimensions and plain arrays: a lookup is then one `take`, without the detours of a memory map's class.
        self._directions: AnyFloat = directions.view(np.ndarray).reshape(-1, directions.shape[-1])
        self._norms: FloatArray = norms.view(np.ndarray).reshape(-1)
        self._rows = rows
        self._key_of = key_of
        self._place = place

    @classmethod
    def in_memory(
        cls, original: FloatArray, mirrored: FloatArray, *, key_of: Callable[[int], str] = str, place: str = ""
    ) -> CachedRows:
        """Of (N, T) embeddings each, not normalised, in full precision; rows of NaN are images without one."""
        parts = [split_norms(original), split_norms(mirrored)]
        directions: FloatArray = np.stack([directions for directions, _ in parts], axis=1)
        norms: FloatArray = np.stack([norms for _, norms in parts], axis=1)
        return cls(directions, norms, key_of=key_of, place=place)

    def __len__(self) -> int:
        return len(self._norms) // 2 if self._rows is None else len(self._rows)

    @property
    def embedding_size(self) -> int:
        """T."""
        return int(self._directions.shape[1])

    @property
    def norms(self) -> FloatArray:
        """(N, 2) float32: of each image and of its mirror image."""
        pairs = self._norms.reshape(-1, 2)
        return pairs if self._rows is None else pairs[self._rows]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(N,) which images have an embedding."""
        return np.asarray(~np.isnan(self.norms).any(axis=1))

    @property
    def original(self) -> FloatArray:
        """(N, T) float32, as `all` gives it."""
        return self.all()[0]

    @property
    def mirrored(self) -> FloatArray:
        """(N, T) float32, as `all` gives it."""
        return self.all()[1]

    def part(self, rows: npt.NDArray[np.int64], key_of: Callable[[int], str]) -> CachedRows:
        """These of the images, in this order."""
        chosen = rows if self._rows is None else self._rows[rows]
        pairs = self._norms.reshape(-1, 2)
        return CachedRows(self._directions, pairs, rows=chosen, key_of=key_of, place=self._place)

    def check(self) -> None:
        """ModelFileError that names the first image whose norm is none: 0, infinite, negative or out of all bounds."""
        norms = self.norms
        unsound = ((norms < SHORTEST) | (norms > LONGEST)).any(axis=1)
        if unsound.any():
            self._refuse(int(unsound.argmax()))

    def lookup(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> FloatArray:
        """(B,) indices and (B,) flags -> (B, T) float32: of each image, or of its mirror image, the embedding.

        Raises:
            DataError: an image has no embedding, because it was corrupt.
            ModelFileError: a row is damaged: its norm is 0, infinite or out of all bounds, or its direction is not of
                length 1. Damage that keeps both is not found.
        """
        rows = indices if self._rows is None else self._rows[indices]
        places = 2 * rows + mirrored
        directions = _to_float32(self._directions.take(places, axis=0))
        norms = self._norms.take(places)
        lengths = np.einsum("ij,ij->i", directions, directions)
        # Whatever is NaN fails these comparisons too.
        sound = (np.abs(lengths - 1) < 2 * LENGTH_TOLERANCE) & (norms >= SHORTEST) & (norms <= LONGEST)
        if not sound.all():
            self._refuse(int(indices[int(sound.argmin())]))
        directions *= norms[:, np.newaxis]
        return directions

    def pieces(self) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """All rows in order, `PIECE` images at a time: which they are, the originals and the mirrored."""
        for start in range(0, len(self), PIECE):
            which = slice(start, min(start + PIECE, len(self)))
            yield which, *self.raw(np.arange(which.start, which.stop))

    def raw(self, indices: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """(B,) indices -> original and mirrored of these images, (B, T) float32 each, NaN where missing.

        They are not checked, as `lookup` does.
        """
        rows = indices if self._rows is None else self._rows[indices]
        return self._raw(2 * rows), self._raw(2 * rows + 1)

    def all(self) -> tuple[FloatArray, FloatArray]:
        """Original and mirrored, (N, T) float32 each, NaN where missing; 8 N T bytes of memory."""
        return joined_pieces(self)

    def _raw(self, places: npt.NDArray[np.int64]) -> FloatArray:
        directions = _to_float32(self._directions.take(places, axis=0))
        with np.errstate(invalid="ignore", over="ignore"):  # a damaged cache may hold any norm and any direction
            directions *= self._norms.take(places)[:, np.newaxis]
        return directions

    def _refuse(self, index: int) -> NoReturn:
        name, norms = shown_name(self._key_of(index)), self.norms[index]
        if np.isnan(norms).any():
            raise DataError(
                f"the teacher has no embedding of '{name}': it was corrupt then",
                place=self._place or None,
                next_step="Embed the data set again"
                + (", with facedistill embed --overwrite" if self._place else ": run the same command again"),
            )
        if (norms == 0).any():
            raise ModelFileError(
                f"the teacher's embedding of '{name}' has the norm 0, and so no direction",
                place=self._place or None,
                next_step="Look at the image, and leave it out with --exclude if it shows no face",
            )
        finite = bool(np.isfinite(norms).all())
        strange = norms[(norms > 0) & ((norms < SHORTEST) | (norms > LONGEST))]
        if finite and len(strange):
            raise ModelFileError(
                f"the teacher's embedding of '{name}' has the norm {strange[0]:.3g}, which is none of an embedding",
                place=self._place or None,
                next_step="The cache is damaged, or the teacher's weights are; make it again with facedistill embed "
                "--overwrite",
            )
        what = "is not what was written" if finite else "is not finite"
        raise ModelFileError(
            f"the cache is damaged: the embedding of '{name}' {what}",
            place=self._place or None,
            next_step="Make it again with facedistill embed --overwrite",
        )
