"""`facedistill identify`: who is it, among many?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from . import options as o


def identify(
    model: Annotated[
        Path,
        typer.Argument(help="A run folder, a checkpoint, published weights, an .onnx file, or a cache of embeddings."),
    ],
    gallery: Annotated[Path, typer.Option(metavar="DATA", help="Crops of the people who can be found.")],
    probes: Annotated[Path, typer.Option(metavar="DATA", help="Crops of the people who are looked for.")],
    distractors: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Crops of strangers, added to the gallery.")
    ] = None,
    one_per_person: Annotated[
        bool, typer.Option("--one-per-person", help="One entry a person, the mean of their images.")
    ] = False,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: o.BatchSize = 64,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Rank-1, 5 and 10, and TPIR at fixed FPIRs: every probe is looked up in the gallery.

    People are matched by name. Probes of people who are not in the gallery are the strangers that FPIR is read from.
    """
    from facedistill.embedders.load_model import load_model
    from facedistill.evaluation.identification.galleries import evaluate_identification
    from facedistill.evaluation.identification.open_gallery import open_distractors, open_people

    found, wanted = open_people(gallery), open_people(probes)
    strangers = None if distractors is None else open_distractors(distractors)
    opened = load_model(model, device=device, color=color, mean=mean, std=std, note=console.note)
    with console.progress("embedding", quiet=quiet) as progress:
        result = evaluate_identification(
            opened,
            found,
            wanted,
            strangers,
            name=probes.name,
            one_per_person=one_per_person,
            batch_size=batch_size,
            progress=progress,
        )
    columns, rows = result.table()
    console.print_table("", columns, rows, quiet=quiet)
    for rate, needed in result.unresolvable.items():
        console.say(f"FPIR {rate} unresolvable: {needed}", quiet=quiet)
    for line in result.notes:
        console.say(line, quiet=quiet)
    for warning in result.warnings:
        console.note(warning)
    console.write_json(
        json_file, {"model": opened.name, "model_sha256": opened.fingerprint, "identification": result.to_dict()}
    )
