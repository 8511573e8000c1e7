"""`facedistill export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o


def export(
    model: Annotated[Path, typer.Argument(help="A run folder, a .safetensors checkpoint or published weights (.pth).")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="ONNX file to write.")],
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write a model as an ONNX file with a dynamic batch; refused unless it agrees with the checkpoint."""
    from facedistill.embedders.load import find_checkpoint, load_model_checkpoint
    from facedistill.errors import UsageError
    from facedistill.export.onnx_file import export_onnx

    from .console import note, print_table, write_json

    if out.suffix != ".onnx":
        raise UsageError("the exported file has to end in .onnx", place=out)
    if out.exists() and not overwrite:
        raise UsageError("the file exists", place=out, next_step="Use --overwrite, or another name")
    file = find_checkpoint(model)
    if file.suffix == ".onnx":
        raise UsageError("it is an ONNX file already", place=file, next_step="Give a run folder or a checkpoint")
    result = export_onnx(load_model_checkpoint(file, color=color, mean=mean, std=std, note=note), out)
    print_table("", *result.table(), quiet=quiet)
    write_json(json_file, result.to_dict())
