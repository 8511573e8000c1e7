"""What is known of the terms that a model's weights come under."""

from __future__ import annotations

from collections.abc import Mapping

from facedistill.card.blocks import Block, Facts, Words
from facedistill.card.training_facts import TrainingFacts

UNKNOWN = "unknown"

INHERIT = (
    "The weights may inherit the terms of the teacher, of the data and of the weights that training began with. Many "
    "published teachers and face data sets are for research only. What is unknown here has to be asked of those who "
    "made it before the model is used for anything else; facedistill's own licence covers the program, not the weights."
)


def licence_blocks(licences: Mapping[str, str], training: TrainingFacts) -> tuple[Block, ...]:
    """The terms of teacher and data, each said to be unknown where nobody has given them.

    Args:
        licences: "teacher" and "data" -> their terms.
        training: how the model was trained.
    """
    rows = []
    if training.command is None or training.teacher is not None or "teacher" in licences:
        rows.append((_named("teacher", training.teacher), licences.get("teacher", UNKNOWN)))
    else:
        rows.append(("teacher", "none was used"))
    rows.append((_named("data", training.data), licences.get("data", UNKNOWN)))
    if training.started_from is not None:
        rows.append((_named("initial weights", training.started_from), UNKNOWN))
    return Facts(tuple(rows)), Words(INHERIT)


def _named(kind: str, name: str | None) -> str:
    return kind if name is None else f"{kind}: {name}"
