"""What the models that are timed reach, from results that were written before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facedistill.embedders.load import find_checkpoint
from facedistill.errors import UsageError
from facedistill.model_hashes import known_hashes
from facedistill.saved_results import PairFigures, SavedResults
from facedistill.shown_name import shown_name


def accuracies_of(paths: Sequence[Path], results: Sequence[SavedResults]) -> list[dict[str, PairFigures]]:
    """For each model, pair list -> what it reaches there, matched by the SHA-256 of its file.

    Args:
        paths: the models.
        results: from eval or compare; one may be of several models, and of others besides.

    Raises:
        UsageError: a result is of none of the models, or has no pair list.
        ModelFileError: there is no such model.
    """
    known = [set(known_hashes(find_checkpoint(path))) for path in paths] if results else []
    found: list[dict[str, PairFigures]] = [{} for _ in paths]
    for result in results:
        matched = [
            (place, judged) for judged in result.judged for place, own in enumerate(known) if judged.sha256 in own
        ]
        if not matched:
            of = ", ".join(map(shown_name, result.models.values()))
            raise UsageError(
                f"the result is of {of}, and of none of the models here",
                place=result.path,
                next_step="They are matched by the SHA-256 of the file: judge these files with facedistill eval",
            )
        if not any(judged.benchmarks for _, judged in matched):
            raise UsageError("the result has no accuracy: it is of no pair list", place=result.path)
        for place, judged in matched:
            found[place] |= {figures.name: figures for figures in judged.benchmarks}
    return found
