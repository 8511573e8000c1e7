"""An evaluation to look at: one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facedistill.evaluation.all_pairs import AllPairsResult
from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page.hardest_pairs import pairs_sheets
from facedistill.evaluation.report_page.inline_svg import inline_svg
from facedistill.evaluation.report_page.meanings import DASH, meanings
from facedistill.evaluation.report_page.model_names import model_names
from facedistill.evaluation.report_page.page_style import REPORT_STYLE
from facedistill.evaluation.report_page.page_tables import (
    all_pairs_facts_table,
    all_pairs_points_table,
    data_table,
    facts_table,
    folds_table,
    points_table,
)
from facedistill.evaluation.report_page.picture import Picture
from facedistill.evaluation.report_page.pictures import benchmark_pictures, shared_pictures
from facedistill.evaluation.verification import VerificationResult
from facedistill.files import write_atomically
from facedistill.page.html import pairs_table, text
from facedistill.page.style import STYLE

_MOST_PAIRS = 12  # of a contact sheet
_FEWEST_PAIRS = 3
_PAIRS_OF_A_KIND = 48  # on the whole page, so that a suite of many benchmarks makes no huge file


def write_report_page(report: EvaluationReport, path: Path) -> None:
    """Write an evaluation as one HTML file: figures, warnings, pictures, and the hardest pairs with their faces.

    The page depends on the report and its benchmarks' images alone, so the same evaluation gives the same bytes.

    Raises:
        OSError: the page cannot be written.
    """
    (model,) = model_names([report.model])
    title = f"Face verification: {text(model)}"
    body = "".join(
        [
            f"<header><h1>Face verification</h1>{_model(report, model)}{_warnings(report)}</header>",
            _summary(report),
            _charts("Curves", shared_pictures(report)),
            *(_benchmark(report, number) for number in range(1, len(report.results) + 1)),
            *map(_all_pairs, report.all_pairs),
            _glossary(report),
        ]
    )
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{REPORT_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    write_atomically(path, page.encode())


def _model(report: EvaluationReport, name: str) -> str:
    return pairs_table([("model", name), ("SHA-256", report.model_sha256), ("preprocessing", report.preprocessing)])


def _warnings(report: EvaluationReport) -> str:
    warnings = report.warnings()
    if not warnings:
        return '<p class="fine">No warning: nothing that is looked for makes these figures doubtful.</p>'
    head = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f'<div class="warnings" role="note"><h2>{head}</h2>{_list(warnings)}</div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>" if lines else ""


def _summary(report: EvaluationReport) -> str:
    tables = report.tables()
    shown = "".join(data_table(columns, rows, as_cards=True) for columns, rows in tables)
    has_dash = any("-" in row for _, rows in tables for row in rows)
    return f"<h2>Summary</h2>{shown}{f'<p>{DASH}</p>' if has_dash else ''}{_contents(report)}"


def _contents(report: EvaluationReport) -> str:
    if len(report.results) < 2:
        return ""
    links = (f'<a href="#b{number}">{text(result.name)}</a>' for number, result in enumerate(report.results, start=1))
    return f"<nav>{' '.join(links)}</nav>"


def _charts(headline: str, pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    head = f"<h2>{headline}</h2>" if headline else ""
    charts = "".join(
        f'<div class="chart"><h3>{picture.title}</h3><p>{picture.meaning}</p>{inline_svg(picture, picture.name)}</div>'
        for picture in pictures
    )
    return f'{head}<div class="charts">{charts}</div>'


def _benchmark(report: EvaluationReport, number: int) -> str:
    result = report.results[number - 1]
    stem = f"b{number}"
    tables = [points_table(result), folds_table(result)]
    return (
        f'<section id="{stem}"><h2>{text(result.name)}</h2>{_list(_notes(result))}{facts_table(result)}'
        f'<div class="columns">{"".join(f"<div>{table}</div>" for table in tables)}</div>'
        f"{_pairs(result, stem, _pairs_of_a_sheet(len(report.results)))}</section>"
    )


def _pairs(result: VerificationResult, stem: str, count: int) -> str:
    if result.judged is None:
        return "<p>The pairs were not kept with this result, so neither scores nor faces can be shown.</p>"
    return _charts("", benchmark_pictures(result, stem)) + pairs_sheets(result, result.judged, count)


def _pairs_of_a_sheet(benchmarks: int) -> int:
    return max(_FEWEST_PAIRS, min(_MOST_PAIRS, _PAIRS_OF_A_KIND // benchmarks))


def _all_pairs(result: AllPairsResult) -> str:
    return (
        f"<section><h2>All pairs of {text(result.name)}</h2>{_list(_notes(result))}"
        f'{all_pairs_facts_table(result)}<div class="columns"><div>{all_pairs_points_table(result)}</div></div>'
        "</section>"
    )


def _notes(result: VerificationResult | AllPairsResult) -> list[str]:
    return [*(f"FAR {far} unresolvable: {needs}" for far, needs in result.unresolvable.items()), *result.notes]


def _glossary(report: EvaluationReport) -> str:
    entries = meanings(benchmarks=bool(report.results), all_pairs=bool(report.all_pairs))
    rows = "".join(f"<dt>{name}</dt><dd>{meaning}</dd>" for name, meaning in entries)
    return f"<h2>What the figures mean</h2><dl>{rows}</dl>"
