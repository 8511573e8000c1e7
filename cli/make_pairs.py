"""`facedistill make-pairs`: a verification benchmark of people's own faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, progress, say, silence_codecs, write_json

HARD = "Hard negatives"


def make_pairs(
    data: o.Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The list: .csv, or .txt for LFW's format.")],
    pairs: Annotated[int, typer.Option(min=1, help="Genuine pairs a fold, and as many impostor pairs.")] = 300,
    folds: Annotated[int, typer.Option(min=2, help="Folds; no person is in two of them.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything random.")] = 0,
    identities: o.Identities = None,
    exclude: o.Exclude = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="M", help="A run, checkpoint or ONNX file that finds the hardest impostors.", rich_help_panel=HARD
        ),
    ] = None,
    hard_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of impostor pairs it chooses.", rich_help_panel=HARD)
    ] = 1.0,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call of the network.", rich_help_panel=HARD)] = 64,
    device: o.Device = "auto",
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Choose genuine and impostor pairs of DATA and write them as a list for `facedistill eval --pairs`."""
    from facedistill.errors import UsageError
    from facedistill.evaluation.make_pairs import check_list_name, make_pairs_of, write_pairs

    from .training import open_training_data

    check_list_name(out)
    if out.exists() and not overwrite:
        raise UsageError("the file exists", place=out, next_step="Use --overwrite, or another name")
    if model is None and (color, mean, std, hard_share) != (None, None, None, 1.0):
        raise UsageError("--color, --mean, --std and --hard-share go with --model")
    silence_codecs()
    embedder = None
    if model is not None:
        from facedistill.embedders.load import load_embedder

        embedder = load_embedder(model, device=device, color=color, mean=mean, std=std, note=note)
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    with progress("embedding", quiet=quiet) as callback:
        made = make_pairs_of(
            dataset,
            embedder,
            pairs=pairs,
            folds=folds,
            seed=seed,
            hard_share=hard_share,
            batch_size=batch_size,
            progress=callback,
        )
    write_pairs(out, made, dataset)
    print_table(f"{out}", *made.table(dataset.labels), quiet=quiet)
    say(f"{made.same.sum()} genuine and {(~made.same).sum()} impostor pairs written to {out}", quiet=quiet)
    if embedder is not None:
        note(f"{made.hard} impostor pairs are those that {embedder.name} finds hardest: a list biased against it")
    model_fields = {} if embedder is None else {"model": str(model), "model_fingerprint": embedder.fingerprint}
    write_json(
        json_file,
        {
            "out": str(out),
            **made.to_dict(dataset.labels),
            "seed": seed,
            "dataset_fingerprint": dataset.fingerprint,
            **model_fields,
        },
    )
