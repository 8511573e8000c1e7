"""What `facedistill eval` prints, plots and writes: one model on several benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.evaluation.all_pairs import AllPairsResult
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
    """

    model: str
    model_sha256: str
    preprocessing: dict[str, Any]
    results: tuple[VerificationResult, ...] = ()
    all_pairs: tuple[AllPairsResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are fractions."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "preprocessing": self.preprocessing,
            "benchmarks": [result.to_dict() for result in self.results],
            "all_pairs": [result.to_dict() for result in self.all_pairs],
        }

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Column names and rows, one table for the benchmarks and one for the data sets, left out where empty."""
        found = [[result.table() for result in self.results], [result.table() for result in self.all_pairs]]
        return [(tables[0][0], [row for _, rows in tables for row in rows]) for tables in found if tables]

    def footnotes(self) -> list[str]:
        """Lines that belong below the tables: what '-' means, the folds, and what was done on the way."""
        lines = []
        for result in self.results:
            lines += _notes(result)
            source = "" if result.source_sha256 is None else f", SHA-256 {result.source_sha256[:12]}"
            lines.append(f"{result.name}: {result.fold_scheme}{source}")
        for result_of_all in self.all_pairs:
            lines += _notes(result_of_all)
        return lines

    def warnings(self) -> list[str]:
        """Everything that makes a figure doubtful, with the benchmark's name."""
        judged: tuple[VerificationResult | AllPairsResult, ...] = (*self.results, *self.all_pairs)
        return [f"{result.name}: {warning}" for result in judged for warning in result.warnings]

    def plot(self, path: Path) -> None:
        """Draw the ROC of every benchmark to one image file."""
        from facedistill.evaluation.roc_plot import plot_roc

        plot_roc(self.results, path)


def _notes(result: VerificationResult | AllPairsResult) -> list[str]:
    unresolvable = [f"FAR {far} unresolvable: {needs}" for far, needs in result.unresolvable.items()]
    return [f"{result.name}: {line}" for line in (*unresolvable, *result.notes)]
