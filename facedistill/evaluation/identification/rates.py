"""1:N figures: closed-set rank-k, and TPIR at FPIR with each rate over the probes that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facedistill.evaluation.identification.search import Searches
from facedistill.evaluation.metrics import accepted_impostors, far_label, impostors_needed, spell_threshold

RANKS = (1, 5, 10)
FPIRS = (1e-2, 1e-1)


@dataclass(frozen=True)
class IdentificationPoint:
    """A threshold with what it does on the probes that it was read from.

    Args:
        threshold: squared L2 distance; an entry below it is returned.
        tpir: share of the mated probes whose mate is the nearest entry, and below the threshold.
        fpir: share of the non-mated probes for which any entry is below the threshold.
    """

    threshold: float
    tpir: float
    fpir: float


@dataclass(frozen=True)
class GalleryFigures:
    """What one model reaches in one gallery; rates are fractions.

    Args:
        name: the gallery's.
        entries: number of entries, distractors among them.
        people: number of people with entries.
        mated: number of probes whose person has an entry.
        non_mated: number of probes whose person has none.
        rank_rates: k -> share of the mated probes whose mate is among the k nearest entries; entries of others that
            are exactly as near stand before it. None without mated probes.
        operating_points: FPIR label -> TPIR and threshold; None where the probes of a kind are too few.
    """

    name: str
    entries: int
    people: int
    mated: int
    non_mated: int
    rank_rates: dict[int, float | None]
    operating_points: dict[str, IdentificationPoint | None]

    @property
    def tpir_at_fpir(self) -> dict[str, float | None]:
        """FPIR label -> TPIR, None where it cannot be resolved."""
        return {label: None if point is None else point.tpir for label, point in self.operating_points.items()}

    @property
    def unresolvable(self) -> dict[str, str]:
        """FPIR label -> what it would take, for each FPIR that the probes cannot resolve."""
        return {
            label: f"needs {impostors_needed(float(label)):,} non-mated probes" if self.mated else "needs mated probes"
            for label, point in self.operating_points.items()
            if point is None
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "entries": self.entries,
            "people": self.people,
            "mated": self.mated,
            "non_mated": self.non_mated,
            **spell_rates(self.rank_rates, self.tpir_at_fpir),
            "unresolvable": self.unresolvable,
            "thresholds": {
                label: spell_threshold(point.threshold)
                for label, point in self.operating_points.items()
                if point is not None
            },
        }


def spell_rates(
    rank_rates: Mapping[int, float | None], tpir_at_fpir: Mapping[str, float | None]
) -> dict[str, dict[str, float | None]]:
    """Both kinds of rates as they stand in JSON."""
    return {"rank": {str(rank): rate for rank, rate in rank_rates.items()}, "tpir_at_fpir": dict(tpir_at_fpir)}


def gallery_figures(
    searches: Searches,
    *,
    name: str,
    entries: int,
    people: int,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> GalleryFigures:
    """The figures of one gallery.

    FPIR is over the non-mated probes alone and TPIR over the mated ones alone (NIST IR 8271, with a list of one
    candidate: TPIR = 1 - FNIR). insightface's IJB script counts the single wrong entries of mated probes instead, and
    divides by all probes: another figure, whose tables these cannot be compared with.
    """
    mate, rank = searches.mate[searches.mated], searches.rank[searches.mated]
    strangers = np.sort(searches.other[~searches.mated])[::-1]
    points: dict[str, IdentificationPoint | None] = {}
    for fpir in fpirs:
        points[far_label(fpir)] = None
        if len(mate) and len(strangers) >= impostors_needed(fpir):
            cosine = strangers[accepted_impostors(fpir, len(strangers))]
            points[far_label(fpir)] = IdentificationPoint(
                threshold=2.0 - 2.0 * float(cosine),
                tpir=float(np.mean((rank == 1) & (mate > cosine))),
                fpir=float(np.mean(strangers > cosine)),
            )
    rank_rates = {k: float(np.mean(rank <= k)) if len(rank) else None for k in ranks}
    return GalleryFigures(name, entries, people, len(mate), len(strangers), rank_rates, points)
