"""An evaluation, or those of several models, as tables for a paper: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page.model_names import model_names
from facedistill.evaluation.report_page.page_tables import numeric_columns
from facedistill.shown_name import printable

Reports = EvaluationReport | Sequence[EvaluationReport]
_Table = tuple[list[str], list[list[str]]]

CSV_COLUMNS = ("model", "model_sha256", "kind", "name", "sha256", "figure", "value")

_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "²": r"\textsuperscript{2}",
}
_POWER = re.compile(r"1e(-?\d+)\b")


def to_markdown(reports: Reports) -> str:
    """Tables with a row a benchmark, or a model and benchmark, and below them what belongs to their figures."""
    lines: list[str] = []
    for columns, rows in _tables(reports):
        marks = ["---:" if is_number else "---" for is_number in numeric_columns(columns, rows)]
        cells = [[_markdown(cell) for cell in row] for row in (columns, *rows)]
        lines += [f"| {' | '.join(row)} |" for row in (cells[0], marks, *cells[1:])]
        lines.append("")
    lines += [f"- {_markdown(line)}" for line in _notes(reports)]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(reports: Reports) -> str:
    r"""The same as `tabular` environments for the package booktabs; what belongs to the figures becomes comments."""
    parts = []
    for columns, rows in _tables(reports):
        kinds = "".join("r" if is_number else "l" for is_number in numeric_columns(columns, rows))
        head = " & ".join(_POWER.sub(r"$10^{\1}$", _latex(column)) for column in columns)
        body = [" & ".join(map(_latex, row)) for row in rows]
        lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", rf"{head} \\", r"\midrule"]
        parts.append("\n".join([*lines, *(rf"{row} \\" for row in body), r"\bottomrule", r"\end{tabular}"]))
    notes = "\n".join(f"% {printable(line)}" for line in _notes(reports))
    return "\n\n".join([*parts, *([notes] if notes else [])]) + "\n"


def to_csv(reports: Reports) -> str:
    """One line a benchmark and figure; rates are fractions, in full, and a figure that there is not is empty.

    The figures are those of the JSON result, called by their place in it, such as `tar_at_far.1e-3` or `folds.1`.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for report in _listed(reports):
        for kind, results in (("benchmark", report.results), ("all pairs", report.all_pairs)):
            for result in results:
                values = result.to_dict()
                digest = values.get("source_sha256") or values.get("fingerprint") or ""
                for figure, value in _figures(values):
                    writer.writerow([report.model, report.model_sha256, kind, result.name, digest, figure, value])
    return content.getvalue()


def _listed(reports: Reports) -> Sequence[EvaluationReport]:
    return [reports] if isinstance(reports, EvaluationReport) else reports


def _names(reports: Sequence[EvaluationReport]) -> list[str]:
    return model_names([report.model for report in reports])


def _tables(reports: Reports) -> list[_Table]:
    """Tables of the same columns become one, whose first column is the model where there are several reports."""
    listed = _listed(reports)
    stacked: dict[tuple[str, ...], list[list[str]]] = {}
    for report, name in zip(listed, _names(listed), strict=True):
        model = [name] if len(listed) > 1 else []
        for columns, rows in report.tables():
            heads = (*(["model"] if model else []), *columns)
            stacked.setdefault(heads, []).extend([*model, *row] for row in rows)
    return [([*columns], rows) for columns, rows in stacked.items()]


def _notes(reports: Reports) -> list[str]:
    """A line that all models share stands once."""
    listed = _listed(reports)
    named = list(zip(_names(listed), listed, strict=True))
    lines = [f"{name}: SHA-256 {report.model_sha256}" for name, report in named]
    for name, report in named:
        lines += [*(f"warning: {name}: {warning}" for warning in report.warnings()), *report.footnotes()]
    return list(dict.fromkeys(lines))


def _figures(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of a result with the names that lead to it; texts are none."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _figures(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values, start=1):
            yield from _figures(value, f"{name}.{number}")
    elif values is None or (isinstance(values, int | float) and not isinstance(values, bool)):
        yield name, "" if values is None else values


def _markdown(cell: str) -> str:
    indent = "&nbsp;&nbsp;" if cell.startswith(" ") else ""
    return indent + _MARKDOWN.sub(r"\\\1", html.escape(printable(cell.strip()), quote=False))


def _latex(cell: str) -> str:
    if cell == "-":
        return "--"
    indent = r"\quad " if cell.startswith(" ") else ""
    return indent + "".join(_LATEX.get(letter, letter) for letter in printable(cell.strip()))
