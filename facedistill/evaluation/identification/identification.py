"""What a model reaches at identification, in one gallery or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facedistill.evaluation.identification.rates import GalleryFigures, spell_rates


@dataclass(frozen=True)
class IdentificationResult:
    """1:N figures; rates are fractions.

    Args:
        name: the benchmark's.
        galleries: the figures of each gallery that was searched by itself.
        joined: those of all galleries as one, where there are several: nearly every probe is mated then, and its
            ranks are what insightface's IJB script gives.
        fingerprints: what was judged -> the fingerprint of the data set, or the SHA-256 of the file.
        warnings: what makes the figures doubtful, in words.
        notes: what was done on the way, such as resizing.
    """

    name: str
    galleries: tuple[GalleryFigures, ...]
    joined: GalleryFigures | None = None
    fingerprints: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rank_rates(self) -> dict[int, float | None]:
        """The rank-k rate of each k, the mean over the galleries; None where one has none."""
        return {
            rank: _mean([each.rank_rates[rank] for each in self.galleries]) for rank in self.galleries[0].rank_rates
        }

    @property
    def tpir_at_fpir(self) -> dict[str, float | None]:
        """FPIR label -> TPIR, the mean over the galleries; None where one cannot resolve it."""
        tpirs = [each.tpir_at_fpir for each in self.galleries]
        return {label: _mean([each[label] for each in tpirs]) for label in tpirs[0]}

    @property
    def unresolvable(self) -> dict[str, str]:
        """FPIR label -> what it would take, for each FPIR that a gallery's probes cannot resolve."""
        return {label: needed for each in self.galleries for label, needed in each.unresolvable.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            **spell_rates(self.rank_rates, self.tpir_at_fpir),
            "unresolvable": self.unresolvable,
            "galleries": [gallery.to_dict() for gallery in self.galleries],
            "joined": None if self.joined is None else self.joined.to_dict(),
            "fingerprints": dict(self.fingerprints),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names and a row for each gallery, their mean and all as one; rates in %."""
        columns = ["1:N", "gallery", "entries", "mated", "non-mated"]
        columns += [f"rank-{rank}" for rank in self.rank_rates]
        columns += [f"TPIR at FPIR {label}" for label in self.tpir_at_fpir]
        several = len(self.galleries) > 1
        rows = [self._row(each) for each in self.galleries]
        if several:
            rates = [*self.rank_rates.values(), *self.tpir_at_fpir.values()]
            rows.append([self.name, "mean", "", "", "", *_percent(rates)])
        if self.joined is not None:
            rows.append(self._row(self.joined))
        return columns, rows

    def _row(self, gallery: GalleryFigures) -> list[str]:
        counts = [f"{count:,}" for count in (gallery.entries, gallery.mated, gallery.non_mated)]
        rates = [*gallery.rank_rates.values(), *gallery.tpir_at_fpir.values()]
        return [self.name, gallery.name, *counts, *_percent(rates)]


def _mean(rates: Sequence[float | None]) -> float | None:
    present = [rate for rate in rates if rate is not None]
    return float(np.mean(present)) if len(present) == len(rates) else None


def _percent(rates: Sequence[float | None]) -> list[str]:
    return ["-" if rate is None else f"{100 * rate:.2f}" for rate in rates]
