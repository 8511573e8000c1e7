from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facedistill.bench.costs import Costs
from facedistill.bench.latency import Latency
from facedistill.evaluation.comparison.all_pairs_comparison import compare_on_all_pairs
from facedistill.evaluation.comparison.benchmark_comparison import compare_on_pairs
from facedistill.evaluation.comparison.comparison import ComparedModel, Comparison
from facedistill.evaluation.people_bootstrap import PeopleBootstrap
from facedistill.evaluation.tar_intervals import tar_differences
from facedistill.evaluation.verification import VerificationResult

Made = Callable[..., VerificationResult]


def described(name: str, costs: Costs) -> ComparedModel:
    return ComparedModel(name, f"models/{name}", "a" * 64, 8, {"size": 8}, costs)


@pytest.fixture
def comparison(made: Made) -> Comparison:
    results = [
        replace(made(1, 1.5), warnings=("the list is odd",)),
        replace(made(2, 0.3), warnings=("it looks odd", "the list is odd"), notes=("crops are resized",)),
    ]
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 4)
    people = PeopleBootstrap(labels, fars=(1e-1, 1e-4), resamples=30, name="faces")
    runs = [people.of(np.linalg.qr(rng.normal(size=(48, 48)))[0][:, :]) for _ in range(2)]
    return Comparison(
        (
            described("runs/a|b", Costs(1_234_567, 4_300_000, 5_200_000, Latency(0.0123, 0.011, 0.02, 0.03, 50))),
            described("b_*", Costs()),
        ),
        (compare_on_pairs(["runs/a|b", "b_*"], results, resamples=20),),
        (compare_on_all_pairs(["runs/a|b", "b_*"], runs, name="faces", fingerprint="f", people=12, images=48),),
    )


def test_one_table_of_costs_and_figures(comparison: Comparison) -> None:
    title, (columns, rows) = comparison.tables()[0]
    assert title == ""
    assert columns == [
        "model", "pairs", "parameters", "multiply-adds", "size", "ms a face", "accuracy", "TAR at 3e-1", "TAR at 1e-1",
    ]  # fmt: skip
    result = comparison.benchmarks[0].results[0]
    assert rows[0][:6] == ["runs/a|b", "made", "1.235 M", "4.3 M", "5.20 MB", "12.30 (11.00-20.00)"]
    assert rows[0][6] == f"{100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f}"
    assert rows[0][7] == f"{100 * (result.tar_at_far['3e-1'] or 0):.2f}"
    assert rows[1][2:6] == ["-", "-", "-", "-"]
    assert [title for title, _ in comparison.tables()[1:]] == [
        "made: differences", "made: agreement", "faces: all pairs", "faces: differences",
    ]  # fmt: skip


def test_without_pair_lists_the_costs_stand_alone(comparison: Comparison) -> None:
    tables = replace(comparison, benchmarks=()).tables()
    assert tables[0][1][0] == ["model", "parameters", "multiply-adds", "size", "ms a face"]
    assert len(tables) == 3


def test_all_pairs_are_compared_on_the_same_people(comparison: Comparison) -> None:
    (found,) = comparison.all_pairs
    assert [tars.name for tars in found.tars] == ["runs/a|b", "b_*"]
    (difference,) = found.differences
    assert difference.against == "runs/a|b"
    one, other = found.tars[0].at_far["1e-1"], found.tars[1].at_far["1e-1"]
    apart = difference.at_far["1e-1"]
    assert one is not None
    assert other is not None
    assert apart is not None
    assert apart.estimate == pytest.approx(other.estimate - one.estimate)
    columns, ((name, shown, unresolved),) = found.difference_table()
    assert columns == ["above runs/a|b", "TAR at 1e-1", "TAR at 1e-4"]
    assert (name, unresolved) == ("b_*", "-")
    assert shown.startswith(f"{100 * apart.estimate:+.2f} (")
    with pytest.raises(ValueError, match="two models"):
        compare_on_all_pairs(["a"], [], name="faces", fingerprint="f", people=1, images=1)


def test_all_pairs_against_another_baseline() -> None:
    rng = np.random.default_rng(1)
    people = PeopleBootstrap(np.repeat(np.arange(12), 4), fars=(1e-1,), resamples=30)
    runs = [people.of(np.linalg.qr(rng.normal(size=(48, 48)))[0]) for _ in range(3)]
    found = compare_on_all_pairs("abc", runs, name="f", fingerprint="f", people=12, images=48, baseline=2)
    assert [(each.name, each.against) for each in found.differences] == [("a", "c"), ("b", "c")]
    assert found.differences[1].at_far == tar_differences([runs[1]], [runs[2]]).at_far


def test_what_stands_below(comparison: Comparison) -> None:
    lines = "\n".join(comparison.footnotes())
    assert "median of 50 calls" in lines
    assert "made: FAR 1e-3 unresolvable: needs 1,000 impostor pairs" in lines
    assert "made: crops are resized" in lines
    assert "SHA-256 000000000000; intervals hold 95 % of 20 resamples over pairs" in lines
    assert "Holm" not in lines, "two models are one test"
    assert "faces: 48 images of 12 people" in lines
    three = replace(comparison, models=(*comparison.models, described("c", Costs())))
    assert "Holm" in "\n".join(three.footnotes())
    assert comparison.warnings() == ["made: the list is odd", "b_*, made: it looks odd"], "what all share once"


def test_json(comparison: Comparison) -> None:
    values = json.loads(json.dumps(comparison.to_dict()))
    latency = values["models"][0]["latency"]
    assert {name: latency[name] for name in ("median", "low", "high", "calls")} == {
        "median": 0.0123, "low": 0.011, "high": 0.02, "calls": 50,
    }  # fmt: skip
    assert values["models"][1]["parameters"] is None
    assert values["benchmarks"][0]["name"] == "made"
    assert values["all_pairs"][0]["differences"][0]["against"] == "runs/a|b"


def test_markdown(comparison: Comparison, tmp_path: Path) -> None:
    comparison.write_markdown(tmp_path / "new" / "c.md")
    text = (tmp_path / "new" / "c.md").read_text()
    assert text == comparison.markdown()
    lines = text.splitlines()
    table = lines[lines.index("# Comparison of models") + 2 :]
    assert table[0].startswith("| model | pairs | parameters |")
    assert table[1] == "| " + " | ".join(["---"] * 9) + " |"
    assert table[2].startswith("| runs/a\\|b | made | 1.235 M |"), "a bar in a name ends no cell"
    assert table[3].startswith("| b\\_\\* | made | - |")
    assert "## made: differences" in lines
    assert any(line.startswith("* made: FAR 1e-3") for line in lines)
