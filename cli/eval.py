"""`facedistill eval`: verification figures of one model on one or more benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facedistill.errors import UsageError

from . import console
from . import options as o

if TYPE_CHECKING:
    from facedistill.evaluation.benchmark import Benchmark


def eval_command(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a .safetensors checkpoint, published weights (.pth) or an .onnx file.")
    ],
    pairs: Annotated[
        list[Path] | None,
        typer.Option(metavar="LIST", help="A pair list: LFW's format, or CSV path_a,path_b,same[,fold]. Repeatable."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATA", help="The crops of a pair list: one for each --pairs in their order, or one for all."
        ),
    ] = None,
    bin_file: Annotated[
        list[Path] | None,
        typer.Option("--bin", metavar="FILE", help="A .bin pair set (lfw.bin, agedb_30.bin, ...). Repeatable."),
    ] = None,
    all_pairs: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Any data set of crops: TAR at low FAR over all its pairs."),
    ] = None,
    identities: o.Identities = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call of the network.")] = 64,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the ROC curves of the pairs (.png, .svg, .pdf).")
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Verification accuracy, TAR at fixed FARs and thresholds of MODEL on one or more benchmarks.

    The protocol is the field's own: original and mirrored embedding summed and normalised, squared L2 distance,
    the threshold of each fold picked on the other folds.
    """
    lists = match_images(pairs or [], images or [])
    check_call(any_pairs=bool(lists or bin_file), all_pairs=all_pairs, identities=identities, plot=plot)
    from facedistill.data.identity_list import read_identities
    from facedistill.data.open_dataset import open_dataset
    from facedistill.embedders.load import load_embedder
    from facedistill.evaluation.all_pairs import evaluate_all_pairs
    from facedistill.evaluation.benchmark import load_bin_benchmark
    from facedistill.evaluation.pair_list import load_pair_list
    from facedistill.evaluation.report import EvaluationReport
    from facedistill.evaluation.roc_plot import check_plot_path
    from facedistill.evaluation.verification import evaluate_verification

    if plot is not None:
        check_plot_path(plot)
    benchmarks: list[Benchmark] = [load_pair_list(path, folder) for path, folder in lists]
    benchmarks += [load_bin_benchmark(path) for path in bin_file or []]
    people = None if identities is None else read_identities(identities)
    dataset = None if all_pairs is None else open_dataset(all_pairs, identities=people, note=console.note)
    embedder = load_embedder(
        model,
        device=device,
        color=color,
        mean=mean,
        std=std,
        note=console.note,
    )
    results = []
    for benchmark in benchmarks:
        with console.progress(benchmark.name, quiet=quiet) as progress:
            results.append(evaluate_verification(embedder, benchmark, batch_size=batch_size, progress=progress))
    results_of_all = []
    if all_pairs is not None and dataset is not None:
        name = all_pairs.name if identities is None else f"{all_pairs.name}, {identities.stem}"
        with console.progress(name, quiet=quiet) as progress:
            results_of_all.append(
                evaluate_all_pairs(embedder, dataset, name=name, batch_size=batch_size, progress=progress)
            )
    report = EvaluationReport(
        embedder.name,
        embedder.fingerprint,
        embedder.preprocessing.to_dict(),
        results=tuple(results),
        all_pairs=tuple(results_of_all),
    )
    for columns, rows in report.tables():
        console.print_table("", columns, rows, quiet=quiet)
    for line in report.footnotes():
        console.say(line, quiet=quiet)
    for warning in report.warnings():
        console.note(warning)
    console.write_json(json_file, report.to_dict())
    if plot is not None:
        report.plot(plot)


def check_call(*, any_pairs: bool, all_pairs: Path | None, identities: Path | None, plot: Path | None) -> None:
    """UsageError for options that make no call together."""
    if not any_pairs and all_pairs is None:
        raise UsageError(
            "there is nothing to evaluate on",
            next_step="Give --pairs LIST --images DATA, --bin FILE or --all-pairs DATA, or several of them",
        )
    if identities is not None and all_pairs is None:
        raise UsageError("--identities is given without --all-pairs", next_step="Add --all-pairs DATA")
    if plot is not None and not any_pairs:
        raise UsageError("--plot draws the ROC of --pairs and --bin, and none is given")


def match_images(pairs: list[Path], images: list[Path]) -> list[tuple[Path, Path]]:
    """Each pair list with its folder; UsageError where their numbers do not belong together."""
    if images and not pairs:
        raise UsageError("--images is given without --pairs", next_step="Add --pairs LIST")
    if len(images) == 1:
        images = images * len(pairs)
    if len(images) != len(pairs):
        raise UsageError(
            f"there are {len(pairs)} --pairs and {len(images)} --images",
            next_step="Give one --images for each --pairs, in their order, or one for all",
        )
    return list(zip(pairs, images, strict=True))
