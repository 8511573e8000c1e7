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
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.metrics import accepted_impostors, impostors_needed
from facedistill.evaluation.pair_blocks import count_pairs
from facedistill.evaluation.ranked_pairs import RankedPairs, rank_pairs

FloatArray = npt.NDArray[np.float64]

FARS = (1e-2, 1e-3, 1e-4, 1e-5)

RESAMPLES = 1000
"""Resamples of the people (ours): the ends of a 95 % interval then rest on 25 of them each."""

MOST_ACCEPTED = 5_000_000
"""Impostor pairs that a FAR may let in to have an interval (ours), so that ranking takes no more than half a GB."""

_KEPT = 3.0  # Impostor pairs that are ranked, as a multiple of those that the highest FAR lets in.


@dataclass(frozen=True, eq=False)
class ResampledTars:
    """What one model reaches on the people as they are, and on every resample of them.

    Args:
        fars: F rates at which TAR is read.
        estimate: (F,) float64 TAR, NaN where the impostor pairs are too few for the FAR, or too many to be ranked.
        resampled: (R, F) float64.
        person_estimate: (F,) float64 TAR with each person weighted alike: the mean over those with several images of
            the share of their own genuine pairs that are accepted.
        person_resampled: (R, F) float64.
        cosines: (F,) float64 threshold of each FAR.
        resampled_cosines: (R, F) float64.
        people: tells the drawn people from others; only what has the same can be compared.
    """

    fars: tuple[float, ...]
    estimate: FloatArray
    resampled: FloatArray
    people: str
    person_estimate: FloatArray
    person_resampled: FloatArray
    cosines: FloatArray
    resampled_cosines: FloatArray

    @property
    def each_person_alike(self) -> ResampledTars:
        """The same with each person weighted alike in the place of each pair."""
        return replace(self, estimate=self.person_estimate, resampled=self.person_resampled)


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
        enough = (far for far in self.fars if self.impostor >= impostors_needed(far))
        self._resolvable = [far for far in enough if far * self.impostor <= MOST_ACCEPTED]
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
        kept = self.ranked
        while True:
            found = self.resample(rank_pairs(embeddings, self._people, kept))
            if found is not None:
                return found
            kept = min(2 * kept, self.impostor)

    @property
    def ranked(self) -> int:
        """How many impostor pairs `of` ranks first."""
        return min(1 + round(_KEPT * self.impostor * max(self._resolvable, default=0)), self.impostor)

    def resample(self, pairs: RankedPairs) -> ResampledTars | None:
        """The same of pairs that are ranked already; None where a resample would have to look at more of them."""
        people = self._people.astype(np.int32)
        first, second = people[pairs.first], people[pairs.second]
        several = np.maximum(self._images * (self._images - 1) // 2, 1)
        share = 1.0 / several[pairs.genuine_people]  # of a person's genuine pairs
        rows: list[FloatArray] = []
        for weights in (np.ones_like(self._drawn[0]), *self._drawn):
            row = self._figures(pairs, weights, weights[first] * weights[second], share)
            if row is None:
                return None
            rows.append(row)
        figures = np.stack(rows)
        tars, alike, cosines = figures[:, 0], figures[:, 1], figures[:, 2]
        return ResampledTars(self.fars, tars[0], tars[1:], self._identity, alike[0], alike[1:], cosines[0], cosines[1:])

    def _figures(
        self,
        pairs: RankedPairs,
        weights: npt.NDArray[np.int32],
        impostor_weights: npt.NDArray[np.int32],
        share: FloatArray,
    ) -> FloatArray | None:
        """(3, F) TAR, TAR with each person alike, and threshold, where person p counts weights[p] times.

        None where more impostor pairs have to be ranked.
        """
        of_genuine = weights[pairs.genuine_people]
        genuine = np.cumsum(of_genuine, dtype=np.int64)
        alike = np.cumsum(of_genuine * share)
        impostor = np.cumsum(impostor_weights, dtype=np.int64)
        images = weights.astype(np.int64) * self._images
        # Of all ordered pairs of images, those of one person and its copies go.
        ordered = int(images.sum()) ** 2 - int(np.square(images).sum())
        found = np.full((3, len(self.fars)), np.nan)
        for column, far in enumerate(self.fars):
            if far in self._resolvable:
                refused = int(np.searchsorted(impostor, accepted_impostors(far, ordered // 2), side="right"))
                if refused == len(impostor):
                    return None
                accepted = int(pairs.genuine_above[refused])
                found[0, column] = genuine[accepted - 1] / genuine[-1] if accepted else 0.0
                found[1, column] = alike[accepted - 1] / alike[-1] if accepted else 0.0
                found[2, column] = pairs.cosines[refused]
        return found
