"""`facedistill eval`: the figures of one model on one or more benchmarks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from facedistill.errors import UsageError

from . import console
from . import options as o


def eval_command(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run folder, a .safetensors checkpoint, published weights (.pth), an .onnx file, or a cache of "
            "embeddings."
        ),
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
    suite_file: Annotated[
        Path | None,
        typer.Option("--suite", metavar="FILE", help="A YAML file that names many of these at once."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="How often people are resampled for the intervals of all pairs; 0: no intervals.")
    ] = 1000,
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
    any_pairs = bool(lists or bin_file or suite_file)
    check_call(any_pairs=any_pairs, all_pairs=all_pairs, identities=identities, plot=plot)
    if resamples == 1:
        raise UsageError("one resample makes no interval", place="--resamples", next_step="Give some hundred, or 0")
    from facedistill.embedders.load_model import load_model
    from facedistill.evaluation.all_pairs import evaluate_all_pairs
    from facedistill.evaluation.benchmark import load_bin_benchmark
    from facedistill.evaluation.input_doubts import input_doubts, sample_pairs
    from facedistill.evaluation.pair_list import load_pair_list
    from facedistill.evaluation.report import EvaluationReport
    from facedistill.evaluation.roc_plot import check_plot_path
    from facedistill.evaluation.suite import Suite, load_suite, open_labelled
    from facedistill.evaluation.verification import evaluate_verification

    if plot is not None:
        check_plot_path(plot)
    suite = Suite(
        tuple(load_pair_list(path, folder) for path, folder in lists)
        + tuple(load_bin_benchmark(path) for path in bin_file or [])
    )
    if all_pairs is not None:
        suite += Suite(labelled=(open_labelled(all_pairs, identities, note=console.note),))
    if suite_file is not None:
        suite += load_suite(suite_file, note=console.note)
    found = load_model(model, device=device, color=color, mean=mean, std=std, note=console.note)
    results = []
    for benchmark in suite.benchmarks:
        with console.progress(benchmark.name, quiet=quiet) as progress:
            result = evaluate_verification(found, benchmark, batch_size=batch_size, progress=progress)
        doubts = input_doubts(found, benchmark.dataset, benchmark.pairs, benchmark.same)
        results.append(replace(result, warnings=(*doubts, *result.warnings)))
    results_of_all = []
    for part in suite.labelled:
        with console.progress(part.name, quiet=quiet) as progress:
            result_of_all = evaluate_all_pairs(
                found, part.dataset, name=part.name, batch_size=batch_size, resamples=resamples, progress=progress
            )
        doubts = input_doubts(found, part.dataset, *sample_pairs(part.dataset.labels))
        results_of_all.append(replace(result_of_all, warnings=(*doubts, *result_of_all.warnings)))
    report = EvaluationReport(
        found.name,
        found.fingerprint,
        found.preprocessing.to_dict(),
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
