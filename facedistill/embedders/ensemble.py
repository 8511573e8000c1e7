"""Several teachers as one: their normalised embeddings averaged, or put beside one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from facedistill.embedders.embedder import Embedder
from facedistill.errors import UsageError
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name

Combine = Literal["mean", "concat"]
FloatArray = npt.NDArray[np.float32]


def check_combine(combine: str) -> None:
    """UsageError where this is no way to combine teachers."""
    if combine not in get_args(Combine):
        raise UsageError(f"teachers are not combined by '{shown_name(combine)}'", next_step="Use mean or concat")


class Combination:
    """How the embeddings of several teachers become one.

    With w_i the weights, made to sum to 1, and u_i an image's embeddings, each divided by its norm:

    - "concat" gives (sqrt(w_1) u_1, sqrt(w_2) u_2, ...), of norm 1. The cosine of two images is then the mean of the
      teachers' cosines by weight, whatever the sizes, and whatever the spaces have to do with one another.
    - "mean" gives sum_i w_i u_i, of norm 1 at most. That is sound for teachers whose spaces are one: checkpoints of one
      run, or networks that were distilled from one. Of teachers trained apart, the axes have nothing to do with each
      other, and their mean is a random projection of what "concat" keeps.

    A row of zeros stays one, and a row that is NaN in one teacher is NaN as a whole. Both rules are ours.

    Args:
        sizes: the length of each teacher's embeddings.
        weights: of each, above 0; None for equal ones.
        combine: "mean" or "concat".
        names: of the teachers, for messages.

    Raises:
        UsageError: no teachers, not one weight for each, a weight that is not above 0 or vanishes beside another, an
            unknown way, or a mean of embeddings of unequal sizes.
    """

    def __init__(
        self, sizes: Sequence[int], weights: Sequence[float] | None, combine: str, *, names: Sequence[str]
    ) -> None:
        if not sizes:
            raise UsageError("there are no teachers to combine")
        given = [1.0] * len(sizes) if weights is None else [float(weight) for weight in weights]
        if len(given) != len(sizes):
            raise UsageError(f"there are {len(sizes)} teachers and {len(given)} weights", next_step="Give one for each")
        for name, weight in zip(names, given, strict=True):
            if not 0 < weight < float("inf"):
                raise UsageError(f"the weight of the teacher {name} is {weight:g}, and it must be above 0")
        check_combine(combine)
        if combine == "mean" and len(set(sizes)) > 1:
            each = ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))
            raise UsageError(
                f"embeddings of unequal sizes have no mean: {each}",
                next_step="Use concat, which puts them beside one another",
            )
        self.combine = combine
        if sum(given) == float("inf"):
            given = [weight / max(given) for weight in given]
        self.weights = [weight / sum(given) for weight in given]
        if not min(self.weights) > 0:
            raise UsageError(
                "the weights of the teachers are so far apart that one counts for nothing",
                next_step="Leave that teacher out, or give weights nearer to one another",
            )
        self.size = sum(sizes) if combine == "concat" else sizes[0]

    def __call__(self, embeddings: Sequence[FloatArray]) -> FloatArray:
        """(N, D_i) float32 of each teacher -> (N, D) float32."""
        parts = []
        for rows, weight in zip(embeddings, self.weights, strict=True):
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, np.newaxis]
            factor = np.sqrt(weight) if self.combine == "concat" else weight
            parts.append((rows * (factor / np.where(norms == 0, 1, norms))).astype(np.float32))
        return np.concatenate(parts, axis=1) if self.combine == "concat" else np.sum(parts, axis=0, dtype=np.float32)

    def fingerprint(self, members: Sequence[str]) -> str:
        """SHA-256 of what makes the members, of their weights and of the way they are combined, as hex."""
        values = json.dumps([list(members), self.weights, self.combine])
        return hashlib.sha256(values.encode()).hexdigest()

    def name(self, members: Sequence[str]) -> str:
        """What to call it in a table."""
        each = " + ".join(f"{weight:.3g} {name}" for name, weight in zip(members, self.weights, strict=True))
        return f"{self.combine}({each})"


def common_preprocessing(members: Sequence[Preprocessing]) -> Preprocessing:
    """What all have in common; where they differ, that of the first of the largest size, which stands for them.

    It says what the members look at at most. Each does what its own says, and the fingerprint knows them all.
    """
    return max(members, key=lambda member: member.size)


class EnsembleEmbedder:
    """Several models as one; see `Combination`. Each resizes the crops as they are to its own size, and colours them.

    Args:
        teachers: the models.
        weights: of each, above 0; None for equal ones.
        combine: "mean", for models of one space, or "concat", for any.

    Raises:
        UsageError: as of `Combination`.
    """

    takes_any_size = True
    """Crops are not resized before `embed`: resizing twice would blur what a member of another size sees."""

    def __init__(
        self, teachers: Sequence[Embedder], weights: Sequence[float] | None = None, combine: str = "concat"
    ) -> None:
        names = [teacher.name for teacher in teachers]
        sizes = [teacher.embedding_size for teacher in teachers]
        self.teachers = list(teachers)
        self.combination = Combination(sizes, weights, combine, names=names)
        self.name = self.combination.name(names)
        self.embedding_size = self.combination.size
        self.preprocessing = common_preprocessing([teacher.preprocessing for teacher in teachers])
        # A weights file says nothing of the colours that it was told to be given. Without one, no fingerprint either.
        members = [f"{teacher.fingerprint} {teacher.preprocessing.to_dict()}" for teacher in teachers]
        known = all(teacher.fingerprint for teacher in teachers)
        self.fingerprint = self.combination.fingerprint(members) if known else ""

    def embed(self, images: npt.NDArray[np.uint8]) -> FloatArray:
        """(N, H, W, 3) uint8 RGB -> (N, D) float32."""
        return self.combination([teacher.embed(images) for teacher in self.teachers])
