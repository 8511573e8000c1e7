"""Which results belong on a card: those of the model itself, and those of its other precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facedistill.card.model_facts import ModelFacts
from facedistill.errors import UsageError
from facedistill.saved_results import SavedResults
from facedistill.shown_name import shown_name


def forms_of(model: ModelFacts, results: Sequence[SavedResults]) -> dict[str, str]:
    """SHA-256 -> what to call the file, of every file that holds this network in some precision.

    They are the model's own file, the one that it was exported from, and whatever a result of export says was made of
    one of these.
    """
    forms = dict.fromkeys(model.hashes, model.precision)
    if model.exported_from is not None:
        forms.setdefault(model.exported_from, "before export")
    exports = [each for result in results for each in result.exported]
    before = -1
    while len(forms) != before:
        before = len(forms)
        for each in exports:
            ends = (each.sha256, each.source_sha256)
            if any(end in forms for end in ends):
                forms.setdefault(each.sha256, each.precision or shown_name(each.name))
                if each.source_sha256 is not None:
                    forms.setdefault(each.source_sha256, "before export")
    return forms


def require_own(model: ModelFacts, forms: Mapping[str, str], results: Sequence[SavedResults]) -> None:
    """UsageError where a result is of none of the forms: a card is about one network."""
    for result in results:
        if not any(sha256 in forms for sha256 in result.models):
            of = ", ".join(f"{shown_name(name)} (SHA-256 {sha256[:12]})" for sha256, name in result.models.items())
            raise UsageError(
                f"the result is of another model: {of}, and the card is of {shown_name(model.name)} "
                f"(SHA-256 {model.hashes[0][:12]})",
                place=result.path,
                next_step="Judge this file with facedistill eval --json; of another precision, give what export --json "
                "wrote, too",
            )
