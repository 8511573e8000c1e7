"""`facedistill prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def prune(
    model: Annotated[Path, typer.Argument(help="A run folder, a .safetensors checkpoint or published weights (.pth).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Run folder, or .safetensors checkpoint, to write.")
    ],
    macs: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the multiply-adds, the share to keep.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the channels, the share to remove, instead.")
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Remove the channels that weigh least, for a smaller network that distill --init then trains on."""
    from facedistill.embedders.load import find_checkpoint, load_model_checkpoint
    from facedistill.prune.groups import import_torch_pruning
    from facedistill.prune.prune import check_target
    from facedistill.prune.prune import prune as prune_checkpoint
    from facedistill.prune.write import check_place, write_pruned

    from .console import note, print_table, say, write_json

    check_target(macs, ratio)
    import_torch_pruning()
    file = find_checkpoint(model)
    check_place(out, file, overwrite=overwrite)
    result = prune_checkpoint(
        load_model_checkpoint(file, color=color, mean=mean, std=std, note=note), macs=macs, ratio=ratio
    )
    asked = {"model": str(model.resolve()), **({"macs": macs} if ratio is None else {"ratio": ratio})}
    weights = write_pruned(out, result.checkpoint, asked)
    print_table(str(out), *result.table(), quiet=quiet)
    say(
        f"cosine of the embeddings before and after, of random crops: {result.cosine:.3f} on average, "
        f"{result.least_cosine:.3f} at least",
        quiet=quiet,
    )
    say(f"weights: {weights}. They have to be trained on:", quiet=quiet)
    say(f"  facedistill distill DATA --teacher T --init {out} --out RUN", quiet=quiet)
    write_json(json_file, {"out": str(out), "weights": str(weights), **result.to_dict()})
