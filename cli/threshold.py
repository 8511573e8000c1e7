"""`facedistill threshold`: the operating point of a model for an application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facedistill.errors import UsageError

from . import benchmarks as b
from . import console
from . import options as o

if TYPE_CHECKING:
    from facedistill.evaluation.threshold import Threshold


def threshold(
    model: Annotated[
        Path,
        typer.Argument(help="A run folder, a checkpoint, published weights, an .onnx file, or a cache of embeddings."),
    ],
    pairs: b.Pairs = None,
    images: b.Images = None,
    bin_file: b.BinFile = None,
    all_pairs: b.AllPairs = None,
    identities: b.Identities = None,
    far: Annotated[
        list[float] | None,
        typer.Option(metavar="RATE", help="False accept rate to allow, such as 1e-3 (the default). Repeatable."),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write the thresholds into the metadata of the .onnx file.")
    ] = False,
    resamples: b.Resamples = 1000,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: o.BatchSize = 64,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """The threshold above whose cosine two faces are taken for one person, for the FAR that you can live with.

    A threshold holds for faces like the benchmark's: measure it on photos such as your users take.
    """
    fars = far or [1e-3]
    if not all(0 < rate < 1 for rate in fars):
        raise UsageError("a FAR is between 0 and 1", place="--far", next_step="Write it as a share, such as 1e-3")
    if save and model.suffix != ".onnx":
        raise UsageError(
            "thresholds are saved in ONNX files",
            place=model,
            next_step="Export the model first, with facedistill export",
        )
    b.check_resamples(resamples)
    suite = b.open_suite(pairs, images, bin_file, all_pairs, identities)
    from facedistill.embedders.load_model import load_model
    from facedistill.evaluation.all_pairs import evaluate_all_pairs
    from facedistill.evaluation.threshold import COLUMNS, threshold_on_all_pairs, threshold_on_pairs
    from facedistill.evaluation.verification import evaluate_verification

    opened = load_model(model, device=device, color=color, mean=mean, std=std, note=console.note)
    found: list[Threshold] = []
    for benchmark in suite.benchmarks:
        with console.progress(benchmark.name, quiet=quiet) as progress:
            result = evaluate_verification(opened, benchmark, fars=fars, batch_size=batch_size, progress=progress)
        found += [threshold_on_pairs(result, rate, resamples=resamples) for rate in fars]
    for part in suite.labelled:
        with console.progress(part.name, quiet=quiet) as progress:
            of_all = evaluate_all_pairs(
                opened,
                part.dataset,
                name=part.name,
                fars=fars,
                batch_size=batch_size,
                resamples=resamples,
                progress=progress,
            )
        found += [threshold_on_all_pairs(of_all, rate) for rate in fars]
    console.print_table("", COLUMNS, [each.row() for each in found], quiet=quiet)
    values = [each.to_dict() for each in found]
    console.write_json(
        json_file,
        {"model": opened.name, "model_sha256": opened.fingerprint, "thresholds": values},
    )
    if save:
        from facedistill.counted import counted
        from facedistill.export.saved_thresholds import KEY, save_thresholds

        save_thresholds(model, values)
        console.say(f"{counted(len(values), 'threshold', 'thresholds')} saved in {model}, under {KEY}", quiet=quiet)
        console.note("the file's SHA-256 has changed; caches of embeddings know it by the one before")
