"""`facedistill eval`: verification figures of one model on one or more benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from facedistill.errors import UsageError

from . import console

if TYPE_CHECKING:
    from facedistill.evaluation.benchmark import Benchmark
    from facedistill.preprocessing import Color


def eval_command(
    model: Annotated[Path, typer.Argument(help="A run folder, a .safetensors checkpoint or an .onnx file.")],
    pairs: Annotated[
        list[Path] | None, typer.Option(help="A pair list: LFW's format, or CSV path_a,path_b,same[,fold]. Repeatable.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="The folder of a pair list's crops: one for each --pairs in their order, or one for all."),
    ] = None,
    bin_file: Annotated[
        list[Path] | None, typer.Option("--bin", help="A .bin pair set (lfw.bin, agedb_30.bin, ...). Repeatable.")
    ] = None,
    color: Annotated[str | None, typer.Option(help="Colour order of a foreign ONNX file: rgb or bgr.")] = None,
    mean: Annotated[float | None, typer.Option(help="Mean of a foreign ONNX file, 0..255 scale.")] = None,
    std: Annotated[float | None, typer.Option(help="Standard deviation of a foreign ONNX file, 0..255 scale.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call of the network.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the ROC curves to this file (.png, .svg, .pdf).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Verification accuracy, TAR at fixed FARs and thresholds of MODEL on one or more benchmarks.

    The protocol is the field's own: original and mirrored embedding summed and normalised, squared L2 distance,
    the threshold of each fold picked on the other folds.
    """
    lists = match_images(pairs or [], images or [])
    if not lists and not bin_file:
        raise UsageError(
            "there is nothing to evaluate on", next_step="Give --pairs LIST --images DIR, or --bin FILE, or several"
        )
    from facedistill.embedders.load import load_embedder
    from facedistill.evaluation.benchmark import load_bin_benchmark
    from facedistill.evaluation.pair_list import load_pair_list
    from facedistill.evaluation.report import EvaluationReport
    from facedistill.evaluation.roc_plot import check_plot_path
    from facedistill.evaluation.verification import evaluate_verification

    if plot is not None:
        check_plot_path(plot)
    benchmarks: list[Benchmark] = [load_pair_list(path, folder) for path, folder in lists]
    benchmarks += [load_bin_benchmark(path) for path in bin_file or []]
    embedder = load_embedder(
        model,
        device=device,
        color=cast("Color | None", color),
        mean=mean,
        std=std,
        note=None if quiet else console.note,
    )
    results = []
    for benchmark in benchmarks:
        with console.progress(benchmark.name, quiet=quiet) as progress:
            results.append(evaluate_verification(embedder, benchmark, batch_size=batch_size, progress=progress))
    report = EvaluationReport(embedder.name, embedder.fingerprint, embedder.preprocessing.to_dict(), tuple(results))
    console.print_table("", *report.table(), quiet=quiet)
    for line in report.footnotes():
        console.say(line, quiet=quiet)
    for warning in report.warnings():
        console.note(warning)
    console.write_json(json_file, report.to_dict())
    if plot is not None:
        report.plot(plot)


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
