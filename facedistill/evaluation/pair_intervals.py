"""How far the figures of a pair list would move with other people, or with other pairs where nobody is known."""

from __future__ import annotations

from dataclasses import replace

from facedistill.evaluation.comparison.pair_people import people_of_judged
from facedistill.evaluation.comparison.paired_bootstrap import figure_intervals, resample_figures
from facedistill.evaluation.people_bootstrap import RESAMPLES
from facedistill.evaluation.verification import VerificationResult


def with_intervals(result: VerificationResult, *, resamples: int = RESAMPLES) -> VerificationResult:
    """A result with the intervals of accuracy, EER, AUC and TARs; as it is for 0 resamples, or without its pairs."""
    judged = result.judged
    if not resamples or judged is None:
        return result
    people = people_of_judged(judged)
    figures = resample_figures(
        judged.distances,
        judged.same,
        judged.folds,
        people=people,
        fars=[float(label) for label in result.operating_points],
        resamples=resamples,
        name=result.name,
    )
    found = figure_intervals(figures)
    ends = {name: None if interval is None else (interval.low, interval.high) for name, interval in found.items()}
    return replace(result, intervals=ends, resampled=figures.over)
