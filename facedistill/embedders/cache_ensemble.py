"""Several caches of the same images as one teacher: each is looked up, and what is found is combined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from facedistill.data.dataset import FaceDataset
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.cached_rows import FloatArray, TeacherRows, joined_pieces
from facedistill.embedders.ensemble import Combination, common_preprocessing


class CombinedRows:
    """The rows of several teachers, combined as they are looked up; see `TeacherRows`.

    Args:
        members: the rows of each, of the same N images.
        combination: how they become one.
    """

    def __init__(self, members: Sequence[TeacherRows], combination: Combination) -> None:
        self._members = list(members)
        self._combination = combination

    def __len__(self) -> int:
        return len(self._members[0])

    @property
    def embedding_size(self) -> int:
        """T."""
        return self._combination.size

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(N,) which images have an embedding of every teacher."""
        return np.asarray(np.logical_and.reduce([member.present for member in self._members]))

    def lookup(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> FloatArray:
        """(B,) indices and (B,) flags -> (B, T) float32; the members' errors where an image has no sound embedding."""
        return self._combination([member.lookup(indices, mirrored) for member in self._members])

    def pieces(self) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """All rows in order, some at a time: which they are, the originals and the mirrored, NaN where missing."""
        for pieces in zip(*(member.pieces() for member in self._members), strict=True):
            original = self._combination([of_originals for _, of_originals, _ in pieces])
            yield pieces[0][0], original, self._combination([of_mirrored for _, _, of_mirrored in pieces])

    def raw(self, indices: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """(B,) indices -> original and mirrored of these images, (B, T) float32 each, NaN where missing."""
        originals, mirrored = zip(*(member.raw(indices) for member in self._members), strict=True)
        return self._combination(originals), self._combination(mirrored)

    def all(self) -> tuple[FloatArray, FloatArray]:
        """Original and mirrored, (N, T) float32 each, NaN where missing; 8 N T bytes of memory."""
        return joined_pieces(self)


class EnsembleCache:
    """Several caches as one; see `Combination`. A model takes part once it has a cache: `make_cache`, `cache_for`.

    Args:
        caches: of the same images, or of more.
        weights: of each, above 0; None for equal ones.
        combine: "mean", for teachers of one space, or "concat", for any.

    Raises:
        UsageError: as of `Combination`.
    """

    def __init__(
        self, caches: Sequence[EmbeddingCache], weights: Sequence[float] | None = None, combine: str = "concat"
    ) -> None:
        names = [cache.model for cache in caches]
        self.caches = list(caches)
        self.combination = Combination([cache.embedding_size for cache in caches], weights, combine, names=names)
        self.model = self.combination.name(names)
        self.embedding_size = self.combination.size
        self.preprocessing = common_preprocessing([cache.preprocessing for cache in caches])
        members = [f"{cache.model_fingerprint} {cache.preprocessing.to_dict()}" for cache in caches]
        known = all(cache.model_fingerprint for cache in caches)
        self.model_fingerprint = self.combination.fingerprint(members) if known else ""
        self.place = ", ".join(cache.place for cache in caches if cache.place)

    def of(self, dataset: FaceDataset) -> CombinedRows:
        """The rows of `dataset`'s images, in its order; see `EmbeddingCache.of`, whose errors it raises."""
        return CombinedRows([cache.of(dataset) for cache in self.caches], self.combination)
