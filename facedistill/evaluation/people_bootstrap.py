"""How far a TAR over all pairs, and the difference of two, would move with other people: a bootstrap over people.

Pairs are not independent of one another: a person with many photos is in many genuine pairs, and somebody who resembles
everybody is in many impostor pairs. So whole people are drawn with replacement. Where person p is drawn w_p times, a
genuine pair of p counts w_p times, and an impostor pair of p and q counts w_p w_q times; pairs between copies of
one person are neither. The threshold of a FAR is read anew in every resample.

Two things make the intervals wider than they had to be rather than narrower: a pair's own chance counts in a product of
two weights, and the threshold is as uncertain as in practice, where it is taken from such people as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.all_pairs import FARS, count_pairs
from facedistill.evaluation.metrics import accepted_impostors, impostors_needed
from facedistill.evaluation.ranked_pairs import RankedPairs, rank_pairs

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 1000
"""Resamples of the people (ours): the ends of a 95 % interval then rest on 25 of them each."""

_KEPT = 3.0  # Impostor pairs that are ranked, as a multiple of those that the highest FAR lets in.


@dataclass(frozen=True, eq=False)
class ResampledTars:
    """What one model reaches on the people as they are, and on every resample of them.

    Args:
        fars: F rates at which TAR is read.
        estimate: (F,) float64 TAR, NaN where the impostor pairs are too few for the FAR.
        resampled: (R, F) float64.
        people: tells the drawn people from others; only what has the same can be compared.
    """

    fars: tuple[float, ...]
    estimate: FloatArray
    resampled: FloatArray
    people: str


class PeopleBootstrap:
    """The same resamples of the people of a data set for every model.

    Args:
        labels: (N,) person of each image, any integers.
        fars: where TAR is read, each between 0 and 1.
        resamples: how often people are drawn.
        seed: decides which.
        name: the data set's, for messages.

    Raises:
        DataError: the labels make no genuine or no impostor pair.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        *,
        fars: Sequence[float] = FARS,
        resamples: int = RESAMPLES,
        seed: int = 0,
        name: str = "all pairs",
    ) -> None:
        if not all(0 < far < 1 for far in fars):
            raise ValueError(f"a FAR is between 0 and 1, and these are {tuple(fars)}")
        if resamples < 2:
            raise ValueError(f"{resamples} resamples make no interval")
        self.name = name
        self.fars = tuple(fars)
        _, self.impostor = count_pairs(labels, name)
        self._people = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        self._images = np.bincount(self._people)
        self._drawn = np.stack(self._draw(resamples, np.random.default_rng(seed)))
        made = hashlib.sha256(self._people.tobytes() + self._drawn.tobytes() + repr(self.fars).encode())
        self._identity = made.hexdigest()

    def _draw(self, resamples: int, generator: np.random.Generator) -> list[npt.NDArray[np.int32]]:
        """How often each person is drawn; a draw that leaves no genuine or no impostor pair is made again."""
        several, count = self._images > 1, len(self._images)
        drawn: list[npt.NDArray[np.int32]] = []
        while len(drawn) < resamples:
            weights = np.bincount(generator.integers(count, size=count), minlength=count).astype(np.int32)
            if np.any(weights[several]) and np.count_nonzero(weights) > 1:
                drawn.append(weights)
        return drawn

    def of(self, embeddings: npt.NDArray[np.floating]) -> ResampledTars:
        """TAR of one model, given its (N, D) unit embeddings, on the people as they are and on every resample.

        Only the most similar impostor pairs are ranked: three times as many as the highest FAR lets in. Where that is
        not enough for a resample, twice as many are.

        Raises:
            DataError: the embeddings are not those of the labels, or not finite.
        """
        if len(embeddings) != len(self._people):
            raise DataError(f"{len(embeddings)} embeddings for {len(self._people)} images", place=self.name)
        if not np.isfinite(embeddings).all():
            raise DataError("the embeddings are not finite", place=self.name)
        resolvable = [far for far in self.fars if self.impostor >= impostors_needed(far)]
        kept = 1 + round(_KEPT * max((far * self.impostor for far in resolvable), default=0))
        while True:
            pairs = rank_pairs(embeddings, self._people, min(kept, self.impostor))
            tars: list[FloatArray] = []
            for weights in (np.ones_like(self._drawn[0]), *self._drawn):
                row = self._tars(pairs, weights, resolvable)
                if row is None:
                    break
                tars.append(row)
            else:
                return ResampledTars(self.fars, tars[0], np.stack(tars[1:]), self._identity)
            kept *= 2

    def _tars(
        self, pairs: RankedPairs, weights: npt.NDArray[np.int32], resolvable: Sequence[float]
    ) -> FloatArray | None:
        """(F,) TAR where person p counts weights[p] times; None where more impostor pairs have to be ranked."""
        genuine = np.cumsum(weights[pairs.genuine_people], dtype=np.int64)
        impostor = np.cumsum(weights[pairs.first] * weights[pairs.second], dtype=np.int64)
        images = weights.astype(np.int64) * self._images
        # Of all ordered pairs of images, those of one person and its copies go.
        ordered = int(images.sum()) ** 2 - int(np.square(images).sum())
        tars = np.full(len(self.fars), np.nan)
        for column, far in enumerate(self.fars):
            if far in resolvable:
                refused = int(np.searchsorted(impostor, accepted_impostors(far, ordered // 2), side="right"))
                if refused == len(impostor):
                    return None
                accepted = int(pairs.genuine_above[refused])
                tars[column] = genuine[accepted - 1] / genuine[-1] if accepted else 0.0
        return tars
