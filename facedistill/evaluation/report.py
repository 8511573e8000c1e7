"""What `facedistill eval` prints, plots and writes: one model on several benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.evaluation.all_pairs import AllPairsResult
from facedistill.evaluation.identification.identification import IdentificationResult
from facedistill.evaluation.identification.ijb import IjbResult
from facedistill.evaluation.slices import SlicesResult
from facedistill.evaluation.verification import VerificationResult


@dataclass(frozen=True)
class EvaluationReport:
    """One model's results.

    Args:
        model: the model's file.
        model_sha256: the SHA-256 of its weights file, as hex.
        preprocessing: what it does to a crop, as plain values.
        results: one a benchmark, in the order asked for.
        all_pairs: one a data set whose pairs were all judged.
        ijb: one a folder of IJB-B or IJB-C.
        slices: one a pair list and column.
    """

    model: str
    model_sha256: str
    preprocessing: dict[str, Any]
    results: tuple[VerificationResult, ...] = ()
    all_pairs: tuple[AllPairsResult, ...] = ()
    ijb: tuple[IjbResult, ...] = ()
    slices: tuple[SlicesResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are fractions."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "preprocessing": self.preprocessing,
            "benchmarks": [result.to_dict() for result in self.results],
            "all_pairs": [result.to_dict() for result in self.all_pairs],
            "ijb": [result.to_dict() for result in self.ijb],
            "slices": [result.to_dict() for result in self.slices],
        }

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Column names and rows: a table for each kind of benchmark, left out where there is none of it."""
        identified = [result.identification for result in self.ijb if result.identification is not None]
        found = [[result.table() for result in self.results], [result.table() for result in self.all_pairs]]
        found += [[result.table() for result in self.ijb], [result.table() for result in identified]]
        together = [(tables[0][0], [row for _, rows in tables for row in rows]) for tables in found if tables]
        return together + [result.table() for result in self.slices]

    def footnotes(self) -> list[str]:
        """Lines that belong below the tables: what '-' means, the folds, and what was done on the way."""
        lines = []
        for result in self.results:
            lines += _notes(result)
            source = "" if result.source_sha256 is None else f", SHA-256 {result.source_sha256[:12]}"
            lines.append(f"{result.name}: {result.fold_scheme}{source}")
        for result_of_all in self.all_pairs:
            lines += _notes(result_of_all)
        for result_of_ijb in self.ijb:
            lines += _notes(result_of_ijb)
            if result_of_ijb.identification is not None:
                lines += _notes(result_of_ijb.identification, rate="FPIR")
        return lines

    def warnings(self) -> list[str]:
        """Everything that makes a figure doubtful, with the benchmark's name."""
        judged: tuple[VerificationResult | AllPairsResult, ...] = (*self.results, *self.all_pairs)
        identified = [result.identification for result in self.ijb if result.identification is not None]
        warnings = [(result.name, result.warnings) for result in judged]
        warnings += [(result.name, result.warnings) for result in identified]
        warnings += [(result.name, tuple(result.warnings())) for result in self.slices]
        return [f"{name}: {warning}" for name, found in warnings for warning in found]

    def plot(self, path: Path) -> None:
        """Draw the ROC of every benchmark to one image file."""
        from facedistill.evaluation.roc_plot import plot_roc

        plot_roc(self.results, path)


def _notes(
    result: VerificationResult | AllPairsResult | IjbResult | IdentificationResult, *, rate: str = "FAR"
) -> list[str]:
    unresolvable = [f"{rate} {value} unresolvable: {needs}" for value, needs in result.unresolvable.items()]
    return [f"{result.name}: {line}" for line in (*unresolvable, *result.notes)]
