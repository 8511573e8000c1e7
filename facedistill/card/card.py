"""The model card of one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from facedistill.card.blocks import Block, Code, Facts, Points, Section, Words
from facedistill.card.family import forms_of, require_own
from facedistill.card.figures import (
    doubts_of,
    export_blocks,
    figure_blocks,
    latency_blocks,
    slice_blocks,
    threshold_table,
)
from facedistill.card.licences import licence_blocks
from facedistill.card.model_facts import ModelFacts, read_model_facts
from facedistill.card.training_facts import TrainingFacts, training_facts
from facedistill.card.uses import INTENDED, LIMITS, NOT_INTENDED
from facedistill.saved_results import Benched, Exported, Judged, SavedResults

DESCRIPTOR = (
    "Two faces are taken for one person where the cosine of their descriptors is above the threshold. A descriptor is "
    "the embedding of the crop plus that of its mirror image, scaled to length 1."
)


@dataclass(frozen=True)
class ModelCard:
    """What is known of one network.

    Args:
        model: what its file tells.
        training: how it was trained.
        licences: "teacher" and "data" -> their terms; what is unknown is missing.
        judged: (precision, what it reaches), one a result.
        benched: (precision, what it takes), one a result.
        exported: (precision, how closely the file follows its source), one a result.
        followed: accuracy at the last record on the benchmark that was followed in training, None where none was.
    """

    model: ModelFacts
    training: TrainingFacts
    licences: dict[str, str] = field(default_factory=dict)
    judged: tuple[tuple[str, Judged], ...] = ()
    benched: tuple[tuple[str, Benched], ...] = ()
    exported: tuple[tuple[str, Exported], ...] = ()
    followed: float | None = None

    def missing(self) -> list[str]:
        """What a card should say and this one can't, each with what supplies it."""
        lines = []
        if not any(model.benchmarks or model.all_pairs or model.ijb for _, model in self.judged):
            lines.append("no figures: --results with what facedistill eval --json wrote")
        if not self.benched:
            lines.append("no latency: --results with what facedistill bench --json wrote")
        if self.training.command is None:
            lines.append("nothing tells how it was trained")
        taught = self.training.command is None or self.training.teacher is not None
        if taught and "teacher" not in self.licences:
            lines.append("the terms of the teacher are unknown: --teacher-license")
        if "data" not in self.licences:
            lines.append("the terms of the training data are unknown: --data-license")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; rates are fractions, latencies seconds."""
        return {
            "model": self.model.to_dict(),
            "training": {
                "command": self.training.command,
                "facts": dict(self.training.rows),
                "options": dict(self.training.options),
            },
            "licences": {"teacher": self.licences.get("teacher"), "data": self.licences.get("data")},
            "results": [{"precision": form, **each.model_dump(mode="json")} for form, each in self.judged],
            "latencies": [{"precision": form, **each.model_dump(mode="json")} for form, each in self.benched],
            "exports": [{"precision": form, **each.model_dump(mode="json")} for form, each in self.exported],
            "accuracy_followed_in_training": self.followed,
            "missing": self.missing(),
        }

    @property
    def title(self) -> str:
        """The headline."""
        return f"Model card: {self.model.name}"

    def sections(self) -> list[Section]:
        """All of the card, whatever it will be written as."""
        return [
            Section("What it is", (Facts(tuple(self._what_it_is())),)),
            Section("Intended use", (Points(INTENDED), Words("It is not for:"), Points(NOT_INTENDED))),
            Section("Figures", self._figures()),
            Section("Figures by group", slice_blocks(self.judged)),
            Section("Thresholds", self._thresholds()),
            Section(
                "Speed", latency_blocks(self.benched) or (Words("Nobody has measured it: facedistill bench does."),)
            ),
            Section("Training", self._training()),
            Section("Licences", licence_blocks(self.licences, self.training)),
            Section("Limits", (Points(LIMITS), *self._doubts())),
        ]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print: what the model is."""
        return ("property", "value"), list(self._what_it_is())

    def _what_it_is(self) -> list[tuple[str, str]]:
        model, costs = self.model, self.model.costs
        side = model.preprocessing.size
        if model.pixels:
            taken = f"uint8 pixels of RGB crops, (N, {side}, {side}, 3); it preprocesses them itself"
        else:
            shape = f"3, {side}, {side}" if model.preprocessing.layout == "nchw" else f"{side}, {side}, 3"
            taken = f"float, (N, {shape})"
        length = "of length 1" if model.normalised else "not normalised"
        return [
            ("file", model.file),
            ("SHA-256", model.hashes[0]),
            ("architecture", _architecture(model)),
            ("precision", model.precision),
            ("parameters", "unknown" if costs.parameters is None else f"{costs.parameters:,}"),
            (
                "multiply-adds",
                "unknown" if costs.multiply_adds is None else f"{costs.multiply_adds / 1e6:.1f} million a face",
            ),
            ("size", "unknown" if costs.file_bytes is None else f"{costs.file_bytes / 1e6:.2f} MB"),
            ("input", taken),
            ("preprocessing", f"{model.preprocessing}{', assumed: the file does not tell' if model.assumed else ''}"),
            ("crop", "aligned by five landmarks to the ArcFace template, as facedistill align does"),
            ("embedding", f"{model.embedding_size} numbers, {length}, compared by cosine"),
        ]

    def _figures(self) -> tuple[Block, ...]:
        blocks = figure_blocks(self.judged)
        if blocks:
            blocks += (
                Words(
                    "In brackets 95 % intervals. Accuracy is the mean over held-out folds ± their standard deviation; "
                    "a dash stands where too few pairs resolve a rate."
                ),
            )
        else:
            blocks = (Words("None was given with this card: facedistill eval measures them."),)
        blocks += export_blocks(self.exported)
        if self.followed is not None:
            blocks += (
                Words(
                    f"In training, the accuracy on the pair list that was followed was {100 * self.followed:.2f} % at "
                    "the last record."
                ),
            )
        return blocks

    def _thresholds(self) -> tuple[Block, ...]:
        table = threshold_table(self.model.thresholds, self.model.precision, self.judged)
        if table is None:
            return (
                Words("None is known: facedistill threshold measures one, and --save writes it into an ONNX file."),
            )
        return Words(DESCRIPTOR), table

    def _training(self) -> tuple[Block, ...]:
        if self.training.command is None:
            return (Words("The file does not tell how the model was trained."),)
        options = yaml.safe_dump(dict(self.training.options), sort_keys=False).rstrip()
        return Facts(self.training.rows), Code("All options", options)

    def _doubts(self) -> tuple[Block, ...]:
        if not self.judged:
            return ()
        doubts = doubts_of(self.judged)
        if not doubts:
            return (Words("The evaluations gave no warning."),)
        return Words("What makes the figures above doubtful:"), Points(doubts)


def make_card(
    path: Path,
    results: Sequence[SavedResults] = (),
    *,
    licences: dict[str, str] | None = None,
    followed: float | None = None,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> ModelCard:
    """Gather what is known of a model.

    Args:
        path: a run folder, a checkpoint, published weights or an ONNX file.
        results: of this model or of its other precisions, see `forms_of`.
        licences: "teacher" and "data" -> their terms, over those saved in the file.
        followed: see `ModelCard`.
        color: of a model that carries no preprocessing, as of `load_embedder`, as are the following.
        mean: likewise.
        std: likewise.
        note: receives one line about each thing that was assumed.

    Raises:
        UsageError: a result is of another model.
        ModelFileError: the model cannot be opened.
    """
    model = read_model_facts(path, color=color, mean=mean, std=std, note=note)
    forms = forms_of(model, results)
    require_own(model, forms, results)
    return ModelCard(
        model,
        training_facts(model.provenance),
        {**model.licences, **(licences or {})},
        tuple((forms[each.sha256], each) for result in results for each in result.judged if each.sha256 in forms),
        tuple((forms[each.sha256], each) for result in results for each in result.benched if each.sha256 in forms),
        tuple((forms[each.sha256], each) for result in results for each in result.exported if each.sha256 in forms),
        followed,
    )


def _architecture(model: ModelFacts) -> str:
    name = model.backbone.get("name")
    if name is None:
        return "unknown: the file does not tell"
    width = model.backbone.get("width", 1)
    parts = [str(name)] + ([f"width {width}"] if width != 1 else [])
    if model.backbone.get("pruned_from"):
        parts.append(f"pruned from {str(model.backbone['pruned_from'])[:12]}")
    return ", ".join(parts)
