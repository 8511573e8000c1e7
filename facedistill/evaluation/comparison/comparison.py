"""What `facedistill compare` prints and writes: several models side by side, what they cost and what they reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.bench.costs import Costs
from facedistill.evaluation.comparison.all_pairs_comparison import AllPairsComparison
from facedistill.evaluation.comparison.benchmark_comparison import BenchmarkComparison
from facedistill.evaluation.verification import VerificationResult
from facedistill.files import write_atomically

Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class ComparedModel:
    """One of the models.

    Args:
        name: what it is called in every table.
        path: where it lies.
        sha256: of its weights file, as hex.
        embedding_size: D.
        preprocessing: what it does to a crop, as plain values.
        costs: as far as they are known.
    """

    name: str
    path: str
    sha256: str
    embedding_size: int
    preprocessing: dict[str, Any]
    costs: Costs

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "embedding_size": self.embedding_size,
            "preprocessing": self.preprocessing,
            **self.costs.to_dict(),
        }


@dataclass(frozen=True)
class Comparison:
    """Models on benchmarks; the differences are to one of them, the baseline.

    Args:
        models: two or more, in the order asked for.
        benchmarks: one a pair list.
        all_pairs: one a data set whose pairs were all judged.
    """

    models: tuple[ComparedModel, ...]
    benchmarks: tuple[BenchmarkComparison, ...] = ()
    all_pairs: tuple[AllPairsComparison, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are fractions, latencies seconds."""
        return {
            "models": [model.to_dict() for model in self.models],
            "benchmarks": [benchmark.to_dict() for benchmark in self.benchmarks],
            "all_pairs": [found.to_dict() for found in self.all_pairs],
        }

    def tables(self) -> list[tuple[str, Table]]:
        """Each with its title: costs and figures in one table, then the differences and the agreement on each list."""
        found: list[tuple[str, Table]] = []
        if self.benchmarks:
            fars = [far for far in self.benchmarks[0].fars if any(far in found.resolved for found in self.benchmarks)]
            rows = [
                _row(model, benchmark.results[index], fars)
                for benchmark in self.benchmarks
                for index, model in enumerate(self.models)
            ]
            columns = ["model", "pairs", *_COST_COLUMNS, "accuracy", *(f"TAR at {far}" for far in fars)]
            found.append(("", (columns, rows)))
        else:
            found.append(("", (["model", *_COST_COLUMNS], [[m.name, *_spell_costs(m.costs)] for m in self.models])))
        for benchmark in self.benchmarks:
            found.append((f"{benchmark.name}: differences", benchmark.difference_table()))
            found.append((f"{benchmark.name}: agreement", benchmark.agreement_table()))
        for data in self.all_pairs:
            found.append((f"{data.name}: all pairs", data.table()))
            found.append((f"{data.name}: differences", data.difference_table()))
        return found

    def footnotes(self) -> list[str]:
        """Lines that belong below the tables: how each figure came about."""
        lines = []
        latencies = [model.costs.latency for model in self.models if model.costs.latency is not None]
        if latencies:
            lines.append(
                f"ms a face: median of {latencies[0].calls} calls with one crop on one thread of the CPU, models in "
                "turn; in brackets where 80 % of the calls lie"
            )
        for benchmark in self.benchmarks:
            result = benchmark.results[0]
            source = "" if result.source_sha256 is None else f", SHA-256 {result.source_sha256[:12]}"
            needs = [f"FAR {far} unresolvable: {what}" for far, what in result.unresolvable.items()]
            notes = dict.fromkeys(line for found in benchmark.results for line in found.notes)
            lines += [f"{benchmark.name}: {line}" for line in (*needs, *notes)]
            lines.append(
                f"{benchmark.name}: {result.fold_scheme}{source}; intervals hold {100 * benchmark.confidence:g} % of "
                f"{benchmark.resamples:,} resamples over {benchmark.over}"
            )
        if self.benchmarks:
            corrected = "" if len(self.models) == 2 else ", after Holm's correction for all models of the table"
            lines.append(
                "right alone: pairs that the one or the other alone decides rightly; p: McNemar's test of these"
                f"{corrected}. It takes pairs for independent: where an interval over people disagrees, believe that"
            )
        for data in self.all_pairs:
            lines += [f"{data.name}: {line}" for line in data.notes]
            lines.append(
                f"{data.name}: {data.images:,} images of {data.people:,} people; intervals hold "
                f"{100 * data.tars[0].confidence:g} % of the resamples over people"
            )
        return lines

    def warnings(self) -> list[str]:
        """Everything that makes a figure doubtful, with the benchmark and, unless all models have it, the model."""
        lines: dict[str, None] = {}
        for benchmark in self.benchmarks:
            shared = set.intersection(*(set(result.warnings) for result in benchmark.results))
            for name, result in zip(benchmark.names, benchmark.results, strict=True):
                for warning in result.warnings:
                    place = benchmark.name if warning in shared else f"{name}, {benchmark.name}"
                    lines[f"{place}: {warning}"] = None
        return list(lines)

    def markdown(self) -> str:
        """The tables and what belongs below them."""
        parts = ["# Comparison of models"]
        for title, table in self.tables():
            parts += [f"## {_escape(title)}"] if title else []
            parts.append(_markdown_table(*table))
        parts += ["\n".join(f"* {_escape(line)}" for line in (*self.footnotes(), *self.warnings()))]
        return "\n\n".join(parts) + "\n"

    def write_markdown(self, path: Path) -> None:
        """Write `markdown` to a file, whose folder is made where it is missing."""
        write_atomically(path, self.markdown().encode("utf-8", "backslashreplace"))


_COST_COLUMNS = ("parameters", "multiply-adds", "size", "ms a face")


def _row(model: ComparedModel, result: VerificationResult, fars: Sequence[str]) -> list[str]:
    accuracy = f"{100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f}"
    found = [result.tar_at_far.get(far) for far in fars]
    tars = ["-" if tar is None else f"{100 * tar:.2f}" for tar in found]
    return [model.name, result.name, *_spell_costs(model.costs), accuracy, *tars]


def _spell_costs(costs: Costs) -> list[str]:
    latency = costs.latency
    return [
        "-" if costs.parameters is None else f"{costs.parameters / 1e6:.3f} M",
        "-" if costs.multiply_adds is None else f"{costs.multiply_adds / 1e6:.1f} M",
        "-" if costs.file_bytes is None else f"{costs.file_bytes / 1e6:.2f} MB",
        "-" if latency is None else f"{1e3 * latency.median:.2f} ({1e3 * latency.low:.2f}-{1e3 * latency.high:.2f})",
    ]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown would take for markup or the end of a cell."""
    plain = "".join(f"\\{letter}" if letter in "\\|`*_<[#" else letter for letter in text)
    return " ".join(plain.split())
