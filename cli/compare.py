"""`facedistill compare`: several models side by side on the same benchmarks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from . import benchmarks as b
from . import console
from . import options as o


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Two or more: run folders, checkpoints, published weights, .onnx files or caches of embeddings.",
            show_default=False,
        ),
    ],
    pairs: b.Pairs = None,
    images: b.Images = None,
    bin_file: b.BinFile = None,
    all_pairs: b.AllPairs = None,
    identities: b.Identities = None,
    suite_file: b.SuiteFile = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    latency: Annotated[bool, typer.Option(help="Time single crops on one thread of the CPU.")] = True,
    batch_size: o.BatchSize = 64,
    device: o.Device = "auto",
    json_file: o.JsonFile = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as Markdown.", rich_help_panel=o.GENERAL)
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A picture (.png) of the pairs that one gets right and another wrong."),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Compare models: what they cost, what they reach, and whether each differs from the first by more than chance.

    Differences are given with intervals, resampled over people where the benchmark tells them, and with McNemar's test.
    """
    suite = b.open_suite(pairs, images, bin_file, all_pairs, identities, suite_file)
    from facedistill.errors import UsageError
    from facedistill.evaluation.comparison.compare_models import compare_models, open_models
    from facedistill.evaluation.comparison.sheet import check_sheet_path, draw_sheet

    if sheet is not None:
        check_sheet_path(sheet)
        if not suite.benchmarks:
            raise UsageError("--sheet shows pairs of --pairs and --bin, and none is given")
    opened = open_models(models, device=device, color=color, mean=mean, std=std, latency=latency, note=console.note)
    comparison = compare_models(opened, suite, partial(console.progress, quiet=quiet), batch_size=batch_size)
    for title, (columns, rows) in comparison.tables():
        console.print_table(title, columns, rows, quiet=quiet)
    for line in comparison.footnotes():
        console.say(line, quiet=quiet)
    for warning in comparison.warnings():
        console.note(warning)
    console.write_json(json_file, comparison.to_dict())
    if markdown is not None:
        comparison.write_markdown(markdown)
    if sheet is not None and not draw_sheet(comparison.benchmarks, sheet):
        console.note("the models decide all pairs alike: no sheet is written")
