"""Several models on one pair list: by how much each differs from a baseline, and whether that can be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.evaluation.comparison.agreement import Agreement, agreement
from facedistill.evaluation.comparison.decisions import Decisions, decide
from facedistill.evaluation.comparison.mcnemar import McNemar, holm, mcnemar
from facedistill.evaluation.comparison.paired_bootstrap import (
    Interval,
    Over,
    figure_differences,
    figure_intervals,
    resample_figures,
)
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.people_bootstrap import RESAMPLES
from facedistill.evaluation.tar_intervals import CONFIDENCE
from facedistill.evaluation.verification import VerificationResult
from facedistill.shown_name import shown_name


@dataclass(frozen=True)
class Difference:
    """By how much a model is above the baseline.

    Args:
        name: the model's.
        against: the baseline's.
        figures: "accuracy", "eer", "auc" and each FAR label -> the difference; None where it cannot be resolved.
        mcnemar: the test of the right decisions; the model is the first of the two.
        p_holm: its p after Holm's correction for all the models that are compared with the baseline here.
    """

    name: str
    against: str
    figures: dict[str, Interval | None]
    mcnemar: McNemar
    p_holm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "against": self.against,
            "figures": {
                name: None if found is None else found.to_dict() | {"excludes_zero": found.excludes_zero}
                for name, found in self.figures.items()
            },
            "mcnemar": self.mcnemar.to_dict(),
            "p_holm": self.p_holm,
        }


@dataclass(frozen=True)
class BenchmarkComparison:
    """M models on one pair list.

    Args:
        names: the models'.
        results: what each reaches.
        intervals: of each model's figures, as `figure_intervals` gives them.
        differences: of every model but the baseline, in their order.
        agreements: of every two models.
        over: whether people or pairs were resampled.
        resamples: how often.
        confidence: share of the resamples that an interval holds.
        decisions: of each model on every pair.
    """

    names: tuple[str, ...]
    results: tuple[VerificationResult, ...]
    intervals: tuple[dict[str, Interval | None], ...]
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    over: Over
    resamples: int
    confidence: float
    decisions: tuple[Decisions, ...] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The benchmark's."""
        return self.results[0].name

    @property
    def fars(self) -> list[str]:
        """The labels of the FARs at which TAR is read."""
        return list(self.results[0].operating_points)

    @property
    def resolved(self) -> list[str]:
        """Those of them that the impostor pairs resolve."""
        return [far for far, point in self.results[0].operating_points.items() if point is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "over": self.over,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "models": [
                {
                    "model": name,
                    "result": result.to_dict(),
                    "intervals": {key: None if found is None else found.to_dict() for key, found in ends.items()},
                }
                for name, result, ends in zip(self.names, self.results, self.intervals, strict=True)
            ],
            "differences": [difference.to_dict() for difference in self.differences],
            "agreements": [found.to_dict() for found in self.agreements],
        }

    def difference_table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for each model but the baseline; differences in points with their intervals."""
        against = next((difference.against for difference in self.differences), "")
        columns = [f"above {against}", "accuracy", *(f"TAR at {far}" for far in self.resolved), "right alone", "p"]
        rows = []
        for difference in self.differences:
            test = difference.mcnemar
            cells = [_points(difference.figures[figure]) for figure in ("accuracy", *self.resolved)]
            rows.append(
                [difference.name, *cells, f"{test.only_first} / {test.only_second}", spell_p(difference.p_holm)]
            )
        return columns, rows

    def agreement_table(self) -> tuple[list[str], list[list[str]]]:
        """Column names, and a row for every two models."""
        columns = ["models", "and", "decided alike", "kappa", "both wrong", "first alone right", "second alone right"]
        rows = [
            [
                found.first,
                found.second,
                f"{100 * found.alike:.2f}",
                "-" if found.kappa is None else f"{found.kappa:.4f}",
                f"{found.both_wrong:,}",
                f"{found.only_first:,}",
                f"{found.only_second:,}",
            ]
            for found in self.agreements
        ]
        return columns, rows


def _points(found: Interval | None) -> str:
    """A difference in points, with its interval in brackets."""
    if found is None:
        return "-"
    return f"{100 * found.estimate:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def spell_p(p: float) -> str:
    """A p value in three decimals, or as a power of ten."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def compare_on_pairs(
    names: Sequence[str],
    results: Sequence[VerificationResult],
    *,
    people: npt.NDArray[np.int64] | None = None,
    baseline: int = 0,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> BenchmarkComparison:
    """Compare models that were judged on one pair list.

    Args:
        names: one a model, no two alike.
        results: one a model.
        people: (P, 2) the person of each image; None to resample pairs.
        baseline: which model the others are compared with.
        resamples: how often people or pairs are drawn.
        seed: decides which.
        confidence: share of the resamples that an interval holds.

    Raises:
        DataError: the models were judged on different pairs, or the people contradict the flags.
        ValueError: there are not two models with different names.
    """
    if len(results) < 2 or len(set(names)) != len(results):
        raise ValueError("two models at least are compared, each under a name of its own")
    judged = _same_pairs(names, results)
    place = results[0].name
    fars = [float(label) for label in results[0].operating_points]
    resampled = [
        resample_figures(
            pairs.distances,
            pairs.same,
            pairs.folds,
            people=people,
            fars=fars,
            resamples=resamples,
            seed=seed,
            name=place,
        )
        for pairs in judged
    ]
    decisions = [decide(pairs) for pairs in judged]
    others = [index for index in range(len(results)) if index != baseline]
    tests = [mcnemar(decisions[index].right, decisions[baseline].right) for index in others]
    differences = [
        Difference(
            names[index],
            names[baseline],
            figure_differences(resampled[index], resampled[baseline], confidence=confidence),
            test,
            p_holm,
        )
        for index, test, p_holm in zip(others, tests, holm([test.p for test in tests]), strict=True)
    ]
    return BenchmarkComparison(
        names=tuple(names),
        results=tuple(results),
        intervals=tuple(figure_intervals(figures, confidence=confidence) for figures in resampled),
        differences=tuple(differences),
        agreements=tuple(
            agreement(decisions[first], decisions[second], names=(names[first], names[second]))
            for first, second in combinations(range(len(results)), 2)
        ),
        over=resampled[0].over,
        resamples=resamples,
        confidence=confidence,
        decisions=tuple(decisions),
    )


def _same_pairs(names: Sequence[str], results: Sequence[VerificationResult]) -> list[JudgedPairs]:
    """The pairs of each result; DataError where they are not the same ones for all models."""
    judged = [result.judged for result in results]
    first, kept = judged[0], []
    for name, result, pairs in zip(names, results, judged, strict=True):
        if pairs is None or first is None:
            raise ValueError("a result was made without keeping its pairs")
        alike = (
            results[0].source_sha256 == result.source_sha256
            and list(results[0].operating_points) == list(result.operating_points)
            and all(
                np.array_equal(one, other)
                for one, other in ((first.pairs, pairs.pairs), (first.same, pairs.same), (first.folds, pairs.folds))
            )
        )
        if not alike:
            raise DataError(
                f"'{shown_name(names[0])}' was judged on {len(first.same):,} pairs of {results[0].name} and "
                f"'{shown_name(name)}' on {len(pairs.same):,} of {result.name}, which are not the same list",
                next_step="Judge all models on one list, with the same folds and FARs",
            )
        kept.append(pairs)
    return kept
