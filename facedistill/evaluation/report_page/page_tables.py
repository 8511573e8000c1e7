"""Tables of the page: beside one another on a wide screen, a card a row on a narrow one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from facedistill.evaluation.all_pairs import AllPairsResult
from facedistill.evaluation.metrics import OperatingPoint, cosine_of
from facedistill.evaluation.report_page.scores_pictures import threshold_rates
from facedistill.evaluation.verification import VerificationResult
from facedistill.page.html import pairs_table, text

_POINT_COLUMNS = ["threshold for", "TAR, %", "FAR, %", "cosine", "L2²"]


def numeric_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bool]:
    """Whether every cell of a column is a number, a dash or empty, for each column."""
    found = []
    for place in range(len(columns)):
        cells = [row[place] for row in rows if row[place]]
        found.append(bool(cells) and all(cell == "-" or cell.lstrip("+-")[:1].isdigit() for cell in cells))
    return found


def data_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_cards: bool = False) -> str:
    """A table whose first column names the row.

    Args:
        columns: their heads.
        rows: cells; a first cell that begins with spaces belongs to the row above.
        as_cards: whether a narrow screen shows each row as a card of its own.
    """
    numeric = [False, *numeric_columns(columns, rows)[1:]]
    heads = "".join(
        f'<th scope="col"{_number(is_number)}>{text(column)}</th>'
        for column, is_number in zip(columns, numeric, strict=True)
    )
    body = ""
    for row in rows:
        inner = ' class="inner"' if row[0].startswith(" ") else ""
        cells = "".join(
            f'<td{_number(is_number)} data-label="{text(column)}">{text(cell)}</td>'
            for column, is_number, cell in list(zip(columns, numeric, row, strict=True))[1:]
        )
        body += f'<tr{inner}><th scope="row">{text(row[0].strip())}</th>{cells}</tr>'
    kind = "data cards" if as_cards else "data"
    table = f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _number(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def facts_table(result: VerificationResult) -> str:
    """What a benchmark is, and what cannot be seen from the other tables."""
    source = [] if result.source is None else [("file", PurePath(result.source).name)]
    digest = [] if result.source_sha256 is None else [("SHA-256", result.source_sha256)]
    return pairs_table(
        [
            ("pairs", f"{result.pairs:,}: {result.genuine:,} genuine, {result.impostor:,} impostor"),
            ("folds", result.fold_scheme),
            ("equal error rate", f"{100 * result.roc.equal_error_rate:.2f} %"),
            ("area under the ROC", f"{result.roc.area:.5f}"),
            *source,
            *digest,
        ]
    )


def all_pairs_facts_table(result: AllPairsResult) -> str:
    """What a data set is whose pairs were all judged."""
    digest = [] if result.fingerprint is None else [("fingerprint", result.fingerprint)]
    return pairs_table(
        [
            ("photos", f"{result.images:,} of {result.identities:,} people"),
            ("pairs", f"{result.genuine:,} genuine, {result.impostor:,} impostor"),
            *digest,
        ]
    )


def folds_table(result: VerificationResult) -> str:
    """Each held-out fold with its accuracy and the threshold that the others gave."""
    rows = [
        [str(number), f"{100 * accuracy:.2f}", f"{cosine_of(threshold):.3f}", f"{threshold:.2f}"]
        for number, (accuracy, threshold) in enumerate(
            zip(result.folds.accuracies, result.folds.thresholds, strict=True), start=1
        )
    ]
    return data_table(["fold", "accuracy, %", "cosine", "L2²"], rows)


def points_table(result: VerificationResult) -> str:
    """Every threshold in both measures, with what it does on the benchmark's own pairs."""
    rates = ["", ""]
    if result.judged is not None:
        far, refused, _ = threshold_rates(result.judged, np.array([result.accuracy_threshold]))
        rates = [_percent(1 - refused[0]), _percent(far[0])]
    spelled = _spelled(result.accuracy_threshold)
    return data_table(_POINT_COLUMNS, [["best accuracy", *rates, *spelled], *_points(result.operating_points)])


def all_pairs_points_table(result: AllPairsResult) -> str:
    """The same for all pairs of a data set, with the thresholds' intervals over people where there are any."""
    columns, rows = _POINT_COLUMNS, _points(result.operating_points)
    if result.threshold_intervals is not None:
        columns = [*columns, "L2², 95 %"]
        ends = [result.threshold_intervals.get(label) for label in result.operating_points]
        rows = [
            [*row, "-" if end is None else f"{end[0]:.3f} to {end[1]:.3f}"] for row, end in zip(rows, ends, strict=True)
        ]
    return data_table(columns, rows, as_cards=True)


def _points(points: dict[str, OperatingPoint | None]) -> list[list[str]]:
    return [
        [
            f"FAR {label}",
            *(["-"] * 4 if point is None else [_percent(point.tar), _percent(point.far), *_spelled(point.threshold)]),
        ]
        for label, point in points.items()
    ]


def _spelled(threshold: float) -> list[str]:
    return [f"{cosine_of(threshold):.3f}", f"{threshold:.3f}"]


def _percent(rate: float) -> str:
    """Low rates keep their digits: 0.0010 is 1e-5."""
    return f"{100 * rate:.2f}" if rate >= 1e-3 or rate == 0 else f"{100 * rate:.4f}"
