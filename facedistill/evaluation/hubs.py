"""Hubs: a few photos that are nearest to a crowd of strangers, which ruins TAR at low FAR and no accuracy shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.evaluation.metrics import accepted_impostors
from facedistill.evaluation.ranked_pairs import RankedPairs
from facedistill.shown_name import shown_name

FAR = 1e-4
"""Rate at which the impostor pairs that it lets in are looked at (ours)."""
FEWEST_PAIRS, MOST_PAIRS = 200, 1000
"""How many pairs are looked at, whatever that rate says (ours)."""
PAIRS_A_HUB = 25
"""Pairs for each photo of those that make up half of them, from which on these photos are hubs (ours).

On 685 pairs of LFW, sound models, whether of 20 % or 98 % TAR at FAR 1e-4, have 8 to 15; a student of 0.05 %, whose
embeddings of faces under caps were long and nearly the same, had 68.
"""
LONGEST = 4.0
"""Norm, as a multiple of the median, from which on an embedding is an outlier, and below whose inverse (ours).

On LFW, sound models stay within 0.3 and 2; the student with hubs reached 33.
"""
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Hubs:
    """Photos that make up at least half of the most similar impostor pairs.

    Args:
        photos: (H,) int64, the busiest first.
        pairs: how many pairs were looked at.
        covered: how many of them have one of these photos.
    """

    photos: npt.NDArray[np.int64]
    pairs: int
    covered: int


def find_hubs(pairs: RankedPairs, impostor: int) -> Hubs | None:
    """The hubs among ranked pairs, at least `hub_pairs` of them; None where there are none, or too few pairs to tell.

    Args:
        pairs: of a data set, see `rank_pairs`.
        impostor: how many impostor pairs it has in all.
    """
    looked_at = hub_pairs(impostor)
    if looked_at > impostor / 100 or looked_at > len(pairs.first):
        return None
    first, second = pairs.first[:looked_at].astype(np.int64), pairs.second[:looked_at].astype(np.int64)
    busiest = np.argsort(-np.bincount(np.concatenate([first, second])), kind="stable")
    place = np.empty_like(busiest)
    place[busiest] = np.arange(len(busiest))
    # A pair is covered once the busier of its photos is.
    needed = np.sort(np.minimum(place[first], place[second]))
    count = int(needed[(looked_at - 1) // 2]) + 1
    if looked_at < PAIRS_A_HUB * count:
        return None
    return Hubs(busiest[:count], looked_at, int(np.count_nonzero(needed < count)))


def hub_pairs(impostor: int) -> int:
    """How many of the most similar of `impostor` pairs are looked at."""
    return int(np.clip(accepted_impostors(FAR, impostor), FEWEST_PAIRS, MOST_PAIRS))


def hub_warning(hubs: Hubs | None, keys: Sequence[str] | None) -> list[str]:
    """A sentence about hubs, if there are any; `keys` are the photos' names."""
    if hubs is None:
        return []
    count = len(hubs.photos)
    who = f"{count} photo{'s' if count > 1 else ''}"
    return [
        f"hubs: {who} {'are' if count > 1 else 'is'} in {hubs.covered} of the {hubs.pairs} most similar pairs of "
        f"different people{_named(hubs.photos, keys)}; the model gives these faces nearly one embedding, which ruins "
        "TAR at low FAR whatever the accuracy"
    ]


def norm_warning(norms: npt.NDArray[np.floating], keys: Sequence[str] | None) -> list[str]:
    """A sentence about embeddings of (N,) norms that are no model's usual ones, if there are any."""
    median = float(np.median(norms))
    ratios = norms / median
    found = []
    for outliers, words in ((ratios > LONGEST, "longer"), (ratios < 1 / LONGEST, "shorter")):
        photos = np.flatnonzero(outliers)
        if not len(photos):
            continue
        photos = photos[np.argsort(-np.abs(np.log(ratios[photos])), kind="stable")]
        extreme = float(ratios[photos[0]])
        times = f"{extreme:.0f} times" if extreme > 1 else f"{extreme:.2g} of"
        verb = "have an embedding" if len(photos) > 1 else "has an embedding"
        found.append(
            f"{len(photos)} of {len(norms)} photos {verb} {words} by far than the usual, up to {times} its norm"
            f"{_named(photos, keys)}"
        )
    return found


def _named(photos: npt.NDArray[np.int64], keys: Sequence[str] | None) -> str:
    if keys is None:
        return ""
    names = ", ".join(shown_name(keys[photo]) for photo in photos[:_NAMED].tolist())
    return f" ({names}{', ...' if len(photos) > _NAMED else ''})"
