from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from facedistill.errors import DataError
from facedistill.evaluation.comparison.benchmark_comparison import compare_on_pairs, spell_p
from facedistill.evaluation.comparison.decisions import decide
from facedistill.evaluation.comparison.mcnemar import holm, mcnemar
from facedistill.evaluation.comparison.paired_bootstrap import figure_differences, resample_figures
from facedistill.evaluation.verification import VerificationResult

Made = Callable[..., VerificationResult]


def test_every_model_against_the_baseline(made: Made) -> None:
    results = [made(1, 1.5), made(2, 0.3), made(3, 3.0)]
    found = compare_on_pairs(["a", "b", "c"], results, baseline=1, resamples=50, seed=4)
    assert [(each.name, each.against) for each in found.differences] == [("a", "b"), ("c", "b")]
    assert found.over == "pairs"
    judged = [result.judged for result in results]
    figures = [
        resample_figures(j.distances, j.same, j.folds, fars=(0.3, 0.1, 1e-3), resamples=50, seed=4) for j in judged
    ]  # type: ignore[union-attr]
    tests = [mcnemar(decide(judged[i]).right, decide(judged[1]).right) for i in (0, 2)]  # type: ignore[arg-type]
    for index, difference in zip((0, 2), found.differences, strict=True):
        assert difference.figures == figure_differences(figures[index], figures[1])
        accuracy = difference.figures["accuracy"]
        assert accuracy is not None
        assert accuracy.estimate == pytest.approx(results[index].accuracy - results[1].accuracy)
    assert [each.mcnemar for each in found.differences] == tests
    assert [each.p_holm for each in found.differences] == holm([test.p for test in tests])
    assert [(each.first, each.second) for each in found.agreements] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.agreements[0].only_first == tests[0].only_first
    for result, intervals in zip(results, found.intervals, strict=True):
        assert intervals["accuracy"] is not None
        assert intervals["accuracy"].estimate == result.accuracy
        assert intervals["1e-3"] is None


def test_the_tables_and_the_json(made: Made) -> None:
    found = compare_on_pairs(["a", "b"], [made(1, 1.5), made(2, 0.3)], resamples=50)
    columns, ((name, accuracy, tar, _, alone, p),) = found.difference_table()
    assert columns == ["above a", "accuracy", "TAR at 3e-1", "TAR at 1e-1", "right alone", "p"]
    (difference,) = found.differences
    assert name == "b"
    shown = difference.figures["accuracy"]
    assert shown is not None
    assert accuracy == f"{100 * shown.estimate:+.2f} ({100 * shown.low:+.2f} to {100 * shown.high:+.2f})"
    assert tar.startswith("+")
    assert alone == f"{difference.mcnemar.only_first} / {difference.mcnemar.only_second}"
    assert p == spell_p(difference.p_holm)
    columns, ((first, second, alike, *_),) = found.agreement_table()
    assert (first, second, alike) == ("a", "b", f"{100 * found.agreements[0].alike:.2f}")
    values = json.loads(json.dumps(found.to_dict()))
    assert [model["model"] for model in values["models"]] == ["a", "b"]
    assert values["models"][0]["result"]["source_sha256"] == "0" * 64
    assert values["differences"][0]["figures"]["1e-3"] is None
    assert values["differences"][0]["figures"]["accuracy"]["excludes_zero"] is shown.excludes_zero


def test_equal_models_do_not_differ(made: Made) -> None:
    (difference,) = compare_on_pairs(["a", "b"], [made(1), made(1)], resamples=20).differences
    assert (difference.mcnemar.p, difference.p_holm) == (1.0, 1.0)
    assert all(found is None or (found.estimate, found.low, found.high) == (0, 0, 0) for found in difference.figures.values())  # fmt: skip  # noqa: E501


def test_a_perfect_and_an_inverted_model(made: Made) -> None:
    perfect = made(1, 0.0)
    judged = perfect.judged
    assert judged is not None
    assert perfect.accuracy == 1.0
    inverted = replace(perfect, judged=replace(judged, distances=np.where(judged.same, 3.0, 1.0)))
    found = compare_on_pairs(["perfect", "inverted"], [perfect, inverted], resamples=20)
    area = found.differences[0].figures["auc"]
    assert area is not None
    assert (area.estimate, area.low, area.high) == pytest.approx((-1.0, -1.0, -1.0))
    assert found.differences[0].mcnemar.only_first == 0
    assert found.differences[0].p_holm < 1e-6


def test_people_are_resampled_where_they_are_known(made: Made) -> None:
    results = [made(1), made(2)]
    assert results[0].judged is not None
    found = compare_on_pairs(["a", "b"], results, people=results[0].judged.pairs // 4, resamples=20)
    assert found.over == "people"


def test_different_pair_lists_are_refused(made: Made) -> None:
    with pytest.raises(DataError, match=r"'a' was judged on 60 pairs of made and 'b' on 60 of made, .* not the same"):
        compare_on_pairs(["a", "b"], [made(1), made(1, listed=1)])
    one = made(1)
    assert one.judged is not None
    others = [
        replace(one, source_sha256="f" * 64),
        replace(one, judged=replace(one.judged, folds=one.judged.folds[::-1].copy())),
        replace(one, judged=replace(one.judged, same=~one.judged.same)),
        replace(one, operating_points={"1e-1": one.operating_points["1e-1"]}),
    ]
    for other in others:
        with pytest.raises(DataError, match="not the same list"):
            compare_on_pairs(["a", "b"], [one, other])


def test_what_is_no_comparison(made: Made) -> None:
    one = made(1)
    with pytest.raises(ValueError, match="two models at least"):
        compare_on_pairs(["a"], [one])
    with pytest.raises(ValueError, match="a name of its own"):
        compare_on_pairs(["a", "a"], [one, one])
    with pytest.raises(ValueError, match="without keeping its pairs"):
        compare_on_pairs(["a", "b"], [one, replace(one, judged=None)])


def test_p_values_as_they_are_shown() -> None:
    assert [spell_p(p) for p in (1.0, 0.0314, 0.001, 0.00042, 1e-30)] == ["1.000", "0.031", "0.001", "4e-04", "1e-30"]
