"""The page of an evaluation: what it says, and that nothing in it can do harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page import page as page_module
from facedistill.evaluation.report_page.meanings import DASH
from facedistill.evaluation.report_page.page import write_report_page
from facedistill.evaluation.verification import VerificationResult

Make = Callable[[EvaluationReport], str]


@pytest.fixture
def make(make_whole: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The page with empty pictures, which is fast."""
    monkeypatch.setattr(page_module, "inline_svg", lambda picture, prefix: f'<svg id="{prefix}"></svg>')
    return make_whole


@pytest.fixture
def make_whole(tmp_path: Path) -> Make:
    def page(report: EvaluationReport) -> str:
        write_report_page(report, tmp_path / "new" / "report.html")
        return (tmp_path / "new" / "report.html").read_bytes().decode("utf-8")

    return page


class Reader(HTMLParser):
    """Elements in their order, words, and tables as rows of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def test_what_stands_on_top(make: Make, report: EvaluationReport) -> None:
    reader = Reader(make(report))
    assert reader.tables[0][:2] == [["model", "student/last.safetensors"], ["SHA-256", "f" * 64]]
    assert reader.tables[0][2][1].startswith("size: 112, color: rgb")
    at = reader.words.index("1 warning")
    assert reader.words[at + 1] == "second: the flags look inverted"
    assert at < reader.words.index("Summary") < reader.words.index("ROC")
    for table, (columns, rows) in zip(reader.tables[1:3], report.tables(), strict=True):
        assert table == [columns, *([cell.strip() for cell in row] for row in rows)]
    assert DASH in reader.words


def test_without_warnings_it_says_so(make: Make, report: EvaluationReport) -> None:
    page = make(replace(report, results=report.results[:1]))
    assert "No warning" in page
    assert 'role="note"' not in page


def test_each_benchmark_has_its_section(make: Make, report: EvaluationReport) -> None:
    reader = Reader(make(report))
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    sections = [f"#{attributes['id']}" for tag, attributes in reader.tags if tag == "section" and "id" in attributes]
    assert links == sections == ["#b1", "#b2"]
    facts, points, folds = reader.tables[3:6]
    assert dict(facts) == {
        "pairs": "320: 160 genuine, 160 impostor",
        "folds": "10 stratified folds",
        "equal error rate": f"{100 * report.results[0].roc.equal_error_rate:.2f} %",
        "area under the ROC": f"{report.results[0].roc.area:.5f}",
        "file": "pairs.txt",
        "SHA-256": "ab" * 32,
    }
    point = report.results[0].operating_points["1e-2"]
    assert point is not None
    assert [row[0] for row in points] == ["threshold for", "best accuracy", *(f"FAR 1e-{n}" for n in range(1, 5))]
    assert points[3] == [
        "FAR 1e-2",
        f"{100 * point.tar:.2f}",
        f"{100 * point.far:.2f}",
        f"{1 - point.threshold / 2:.3f}",
        f"{point.threshold:.3f}",
    ]
    assert points[4] == ["FAR 1e-3", "-", "-", "-", "-"]
    assert "FAR 1e-3 unresolvable: needs 1,000 impostor pairs" in reader.words
    assert [row[1] for row in folds[1:]] == [f"{100 * value:.2f}" for value in report.results[0].folds.accuracies]
    assert "home" not in make(report)


def test_the_threshold_of_best_accuracy_and_what_it_does(make: Make, report: EvaluationReport) -> None:
    result = report.results[0]
    judged = result.judged
    assert judged is not None
    accepted = judged.distances < result.accuracy_threshold
    row = Reader(make(report)).tables[4][1]
    assert row[1] == f"{100 * accepted[judged.same].mean():.2f}"
    assert row[2] == f"{100 * accepted[~judged.same].mean():.2f}"
    assert row[4] == f"{result.accuracy_threshold:.3f}"


def test_all_pairs_have_their_section(make: Make, report: EvaluationReport) -> None:
    reader = Reader(make(replace(report, results=())))
    assert "All pairs of folder" in reader.words
    facts, points = reader.tables[2:4]
    assert facts == [
        ["photos", "160 of 40 people"],
        ["pairs", "240 genuine, 12,480 impostor"],
        ["fingerprint", "cd" * 32],
    ]
    assert [row[0] for row in points[1:]] == ["FAR 1e-2", "FAR 1e-3", "FAR 1e-4", "FAR 1e-5"]
    assert points[4][1:] == ["-"] * 5
    intervals = report.all_pairs[0].threshold_intervals
    assert intervals is not None
    assert points[1][5] == "{:.3f} to {:.3f}".format(*intervals["1e-2"])
    assert not any(tag == "svg" for tag, _ in reader.tags)
    assert "each person alike" in reader.words
    assert "accuracy" not in reader.words


def test_pictures_and_faces_are_counted(make: Make, report: EvaluationReport) -> None:
    reader = Reader(make(report))
    assert sum(tag == "svg" for tag, _ in reader.tags) == 3 + 2 * 2
    assert sum(tag == "img" for tag, _ in reader.tags) == 2 * 12 * 2  # the second benchmark has no photos
    assert sum(tag == "figure" for tag, _ in reader.tags) == 2 * 12 * 2


def test_many_benchmarks_make_no_huge_page(make: Make, report: EvaluationReport) -> None:
    many = make(replace(report, results=report.results[:1] * 20))
    assert many.count("<img") == 20 * 2 * 3 * 2
    assert many.count("<figure") == 20 * 2 * 3
    assert len(many) < 2_000_000


def test_a_result_without_its_pairs(make: Make, report: EvaluationReport) -> None:
    bare = replace(report.results[0], judged=None)
    page = make(replace(report, results=(bare,)))
    assert "The pairs were not kept with this result" in page
    assert page.count("<svg") == 3
    assert "<figure" not in page
    assert Reader(page).tables[4][1][:3] == ["best accuracy", "", ""]


def test_nothing_from_outside_becomes_markup(
    make_whole: Make, report: EvaluationReport, evil_report: EvaluationReport
) -> None:
    page, plain = make_whole(evil_report), make_whole(report)
    reader, known = Reader(page), Reader(plain)
    assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in known.tags}
    assert {name for _, attributes in reader.tags for name in attributes} <= {
        name for _, attributes in known.tags for name in attributes
    }
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;alert") > 20


def test_the_page_stands_alone(make_whole: Make, report: EvaluationReport) -> None:
    page = make_whole(report)
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len({*ids}) > 10
    assert "http" not in page
    assert "@import" not in page
    assert {*re.findall(r"url\((.)", page)} == {"#"}
    assert not any(tag in ("link", "iframe", "object", "script") for tag, _ in reader.tags)
    for _, attributes in reader.tags:
        assert str(attributes.get("src", "data:")).startswith("data:")
        target = str(attributes.get("href", "#b1"))
        assert target.startswith("#")
        assert target[1:] in ids
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_the_same_evaluation_gives_the_same_bytes(make_whole: Make, report: EvaluationReport) -> None:
    report = replace(report, results=report.results[:1])
    assert make_whole(report) == make_whole(report)


def test_every_cell_knows_its_column(make: Make, report: EvaluationReport) -> None:
    """On a narrow screen a row becomes a card, where each cell says what it is."""
    cells = [attributes["data-label"] for tag, attributes in Reader(make(report)).tags if "data-label" in attributes]
    columns, _ = report.tables()[0]
    assert cells[: len(columns) - 1] == columns[1:]
    assert all(cells)


def test_names_that_no_encoding_takes(make: Make, report: EvaluationReport) -> None:
    named: VerificationResult = replace(report.results[0], name="fa\udce7ade\x07")
    assert "fa\ufffdade\ufffd" in make(replace(report, results=(named,)))
