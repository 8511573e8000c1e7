"""`facedistill export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facedistill.errors import UsageError

from . import benchmarks as b
from . import console
from . import options as o

if TYPE_CHECKING:
    from facedistill.export.crops import Crops

FORM = "Form of the file"
INT8 = "Crops to calibrate on and to judge by"


def export(
    model: Annotated[
        Path,
        typer.Argument(help="A run folder, a .safetensors checkpoint, published weights (.pth), or an .onnx file."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="ONNX file to write.")],
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8|int8-weights",
            help="int8: weights and activations, wants --calibration; int8-weights: weights alone, for a small file.",
            rich_help_panel=FORM,
        ),
    ] = "fp32",
    input_form: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="float|uint8-rgb",
            help="What the file takes: the preprocessed image, or the pixels of an RGB crop as they are.",
            rich_help_panel=FORM,
        ),
    ] = "float",
    layout: Annotated[
        str | None,
        typer.Option(metavar="nchw|nhwc", help="Of a float input; as the model has it.", rich_help_panel=FORM),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Give embeddings of length 1.", rich_help_panel=FORM)
    ] = False,
    prelu: Annotated[
        str | None,
        typer.Option(
            metavar="operator|spelled-out",
            help="PReLUs as other runtimes want them, or as onnxruntime is fast with on a CPU; as the model has them.",
            rich_help_panel=FORM,
        ),
    ] = None,
    opset: Annotated[int, typer.Option(metavar="N", help="ONNX operator set.", rich_help_panel=FORM)] = 18,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Aligned crops like those the model will see.", rich_help_panel=INT8),
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST", help="Of --calibration, use only these people: one name a line.", rich_help_panel=INT8
        ),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many crops to calibrate on.", rich_help_panel=INT8)
    ] = 300,
    pairs: b.Pairs = None,
    images: b.Images = None,
    bin_file: b.BinFile = None,
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, metavar="POINTS", help="Accuracy that may be lost on a benchmark.", rich_help_panel=b.BENCHMARKS
        ),
    ] = 0.1,
    teacher_license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The terms of the teacher, for the metadata.")
    ] = None,
    data_license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The terms of the training data, for the metadata.")
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write a model as an ONNX file with a dynamic batch, in fp32, fp16 or int8.

    No file is written unless its embeddings are those of the model and, where benchmarks are given, its accuracy is.
    """
    if out.suffix != ".onnx":
        raise UsageError("the exported file has to end in .onnx", place=out)
    if out.exists() and not overwrite:
        raise UsageError("the file exists", place=out, next_step="Use --overwrite, or another name")
    if identities is not None and calibration is None:
        raise UsageError("--identities is given without --calibration", next_step="Add --calibration DATA")
    from facedistill.embedders.load import find_checkpoint, load_model_checkpoint
    from facedistill.export.export import export_model
    from facedistill.export.options import ExportOptions
    from facedistill.export.source import source_of_checkpoint, source_of_onnx

    options = ExportOptions(precision, input_form, layout, normalise, opset, prelu)  # type: ignore[arg-type]
    crops = None if calibration is None else open_crops(calibration, identities, calibration_images, seed)
    benchmarks = b.open_suite(pairs, images, bin_file, None, None, more=True).benchmarks
    file = find_checkpoint(model)
    if file.suffix == ".onnx":
        source = source_of_onnx(file, color=color, mean=mean, std=std, note=console.note)
    else:
        checkpoint = load_model_checkpoint(file, color=color, mean=mean, std=std, note=console.note)
        source = source_of_checkpoint(checkpoint, name=str(model))
    licences = {"teacher": teacher_license, "data": data_license}
    result = export_model(
        source,
        out,
        options,
        crops=crops,
        benchmarks=benchmarks,
        max_drop=max_drop,
        licences={kind: terms for kind, terms in licences.items() if terms},
        note=console.note,
        progress=lambda name: console.progress(name, unit="layers" if "layer" in name else "images", quiet=quiet),
    )
    console.print_table("", *result.table(), quiet=quiet)
    console.write_json(json_file, result.to_dict())


def open_crops(data: Path, identities: Path | None, count: int, seed: int) -> Crops:
    """The crops that --calibration and --identities name; errors as of `open_dataset` and `read_crops`."""
    from facedistill.data.identity_list import read_identities
    from facedistill.data.open_dataset import open_dataset
    from facedistill.export.crops import read_crops

    people = None if identities is None else read_identities(identities)
    dataset = open_dataset(data, identities=people, note=console.note)
    return read_crops(dataset, data.name or str(data), count=count, seed=seed, note=console.note)
