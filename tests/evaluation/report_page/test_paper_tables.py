"""Tables for papers: the same figures as in the report, in three notations."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

from facedistill.evaluation.report import EvaluationReport
from facedistill.evaluation.report_page.model_names import model_names
from facedistill.evaluation.report_page.paper_tables import CSV_COLUMNS, to_csv, to_latex, to_markdown


def lines_of(content: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content)))


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_csv_holds_every_figure_in_full(report: EvaluationReport) -> None:
    lines = lines_of(to_csv(report))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert {line["model"] for line in lines} == {report.model}
    figures = {line["figure"]: line["value"] for line in lines if line["name"] == "made"}
    result = report.results[0]
    assert float(figures["accuracy"]) == result.accuracy
    assert float(figures["eer"]) == result.roc.equal_error_rate
    assert float(figures["tar_at_far.1e-2"]) == result.tar_at_far["1e-2"]
    assert figures["tar_at_far.1e-3"] == ""
    assert [float(figures[f"folds.{number}"]) for number in range(1, 11)] == [*result.folds.accuracies]
    assert float(figures["thresholds.accuracy.cosine"]) == result.thresholds["accuracy"]["cosine"]
    assert figures["pairs"] == "320"
    assert not {"name", "source", "source_sha256", "fold_scheme", "warnings.1"} & figures.keys()
    assert {line["sha256"] for line in lines if line["name"] == "made"} == {"ab" * 32}
    everything = [line for line in lines if line["kind"] == "all pairs"]
    assert {line["name"] for line in everything} == {"folder"}
    assert {line["sha256"] for line in everything} == {"cd" * 32}
    assert (
        float({line["figure"]: line["value"] for line in everything}["tar_at_far.1e-3"])
        == (report.all_pairs[0].tar_at_far["1e-3"])
    )


def test_markdown_holds_the_tables(report: EvaluationReport) -> None:
    lines = to_markdown(report).splitlines()
    columns, rows = report.tables()[0]
    assert cells_of(lines[0]) == columns
    assert cells_of(lines[1])[:3] == ["---", "---:", "---:"]
    assert [cells_of(line) for line in lines[2:4]] == rows
    assert lines[4] == ""
    assert cells_of(lines[8])[0] == "&nbsp;&nbsp;each person alike"
    assert lines[10] == f"- student/last.safetensors: SHA-256 {'f' * 64}"
    assert "- warning: student/last.safetensors: second: the flags look inverted" in lines
    assert "- made: FAR 1e-3 unresolvable: needs 1,000 impostor pairs" in lines


def test_latex_holds_the_tables(report: EvaluationReport) -> None:
    content = to_latex(report)
    first, second = re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", content, re.DOTALL)
    assert first[0] == "lrrrrrrrrr"
    lines = first[1].splitlines()
    assert [lines[0], lines[2], lines[-1]] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[1].startswith(r"benchmark & pairs & accuracy & EER & AUC & TAR at $10^{-1}$ & ")
    assert lines[1].endswith(r"L2\textsuperscript{2} / cos \\")
    accuracy = report.tables()[0][1][0][2].replace("±", r"$\pm$")
    assert lines[3].startswith(f"made & 320 & {accuracy} & ")
    assert " & -- & -- & " in lines[3]
    assert r"\quad each person alike" in second[1]
    assert "% made: FAR 1e-3 unresolvable: needs 1,000 impostor pairs" in content


def test_several_models_share_a_table(report: EvaluationReport) -> None:
    other = replace(report, model="/home/somebody/runs/teacher/last.safetensors", model_sha256="e" * 64)
    lines = to_markdown([report, other]).splitlines()
    assert cells_of(lines[0])[:2] == ["model", "benchmark"]
    assert [cells_of(line)[:2] for line in lines[2:6]] == [
        ["student/last.safetensors", "made"],
        ["student/last.safetensors", "second"],
        ["teacher/last.safetensors", "made"],
        ["teacher/last.safetensors", "second"],
    ]
    assert sum("unresolvable" in line for line in lines) == 2 * 2 + 1  # once, not once a model
    assert to_latex([report, other]).count(r"\begin{tabular}") == 2
    assert len(lines_of(to_csv([report, other]))) == 2 * len(lines_of(to_csv(report)))
    assert cells_of(to_markdown([report]).splitlines()[0]) == report.tables()[0][0]


def test_tables_of_different_columns_stay_apart(report: EvaluationReport) -> None:
    fewer = replace(report.results[0], operating_points={"1e-1": report.results[0].operating_points["1e-1"]})
    other = replace(report, model="b", results=(fewer,), all_pairs=())
    assert to_latex([report, other]).count(r"\begin{tabular}") == 3


def test_hostile_names_stay_in_their_cell(evil_report: EvaluationReport, evil: str) -> None:
    report = replace(
        evil_report,
        results=tuple(
            replace(result, name=evil + "\n\\input{x}\r~^#%", notes=("a\n\\input{y}",))
            for result in evil_report.results
        ),
    )
    markdown = to_markdown(report)
    assert "<" not in markdown
    columns, rows = report.tables()[0]
    assert [len(cells_of(line)) for line in markdown.splitlines()[:4]] == [len(columns)] * 4
    latex = to_latex(report)
    code = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    assert r"\input" not in code
    assert not re.search(r"(?<!\\)[%#_~^]", code.replace("$10^", ""))
    assert all(len(re.split(r"(?<!\\)&", line)) == len(columns) for line in code.splitlines()[4 : 4 + len(rows)])
    assert lines_of(to_csv(report))[0]["name"] == evil + "\n\\input{x}\r~^#%"


def test_no_report_makes_no_table() -> None:
    assert to_markdown([]) == "\n"
    assert to_latex([]) == "\n"
    assert to_csv([]) == ",".join(CSV_COLUMNS) + "\n"


def test_models_are_told_apart() -> None:
    assert model_names(["/a/b/c.onnx"]) == ["b/c.onnx"]
    assert model_names(["c.onnx"]) == ["c.onnx"]
    assert model_names(["/x/1/run/last", "/x/2/run/last", "z"]) == ["1/run/last", "2/run/last", "z"]
    assert model_names(["/x/run/last", "/x/run/last"]) == ["run/last", "run/last"]
    assert model_names([]) == []
