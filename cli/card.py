"""`facedistill card`: what a model is, where it comes from, what it reaches, and what it is not for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.errors import UsageError

from . import console
from . import options as o


def card(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a .safetensors checkpoint, published weights (.pth) or an .onnx file.")
    ],
    out: Annotated[list[Path], typer.Option("--out", "-o", metavar="FILE", help="The card: .md or .html. Repeatable.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="JSON",
            help="What eval, compare, threshold, bench or export wrote with --json, of this model or of its other "
            "precisions. Repeatable.",
        ),
    ] = None,
    teacher_license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The terms of the teacher; else those saved in the file.")
    ] = None,
    data_license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The terms of the training data; else those saved in the file.")
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write a model card: architecture, training, licences, figures, thresholds, speed, limits and intended use.

    Results are matched by the SHA-256 of the model's file; one of another model is refused.
    """
    from facedistill.card.card import make_card
    from facedistill.card.write import check_card_path, followed_accuracy, write_card
    from facedistill.saved_results import read_results

    for path in out:
        check_card_path(path)
        if path.exists() and not overwrite:
            raise UsageError("the file exists", place=path, next_step="Use --overwrite, or another name")
    licences = {"teacher": teacher_license, "data": data_license}
    made = make_card(
        model,
        [read_results(path) for path in results or []],
        licences={kind: terms for kind, terms in licences.items() if terms},
        followed=followed_accuracy(model),
        color=color,
        mean=mean,
        std=std,
        note=console.note,
    )
    for path in out:
        write_card(made, path)
    console.print_table("", *made.table(), quiet=quiet)
    for line in made.missing():
        console.note(line)
    console.write_json(json_file, made.to_dict())
