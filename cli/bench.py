"""`facedistill bench`: how long models take, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from . import options as o


def bench_command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...", help="Run folders, checkpoints, published weights or .onnx files.", show_default=False
        ),
    ],
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Faces a call for the throughput. Repeatable; 1, 8 and 32 by default."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="The most threads; as many as there are processors by default.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="For the counted calls of each measurement of each model.")
    ] = 5.0,
    memory: Annotated[bool, typer.Option(help="Measure each model's memory, in a process of its own.")] = True,
    accuracy: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="JSON", help="What eval or compare wrote of these models: shown beside their speed. Repeatable."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw accuracy against latency (.png, .svg, .pdf).")
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Latency of one face, throughput of many, and memory, on the CPU; the models take turns.

    The time is that from a uint8 crop to its embedding, preprocessing included, without mirror images.
    """
    from facedistill.errors import UsageError
    from facedistill.evaluation.roc_plot import check_plot_path

    if plot is not None:
        check_plot_path(plot)
        if not accuracy:
            raise UsageError(
                "--plot shows accuracies, and none is given", next_step="Add --accuracy with what eval wrote by --json"
            )
    from facedistill.bench.bench import BATCHES, bench
    from facedistill.evaluation.comparison.compare_models import short_names
    from facedistill.saved_results import read_results

    names = short_names(models)
    result = bench(
        models,
        batches=batch or BATCHES,
        threads=threads,
        seconds=seconds,
        memory=memory,
        results=[read_results(path) for path in accuracy or []],
        color=color,
        mean=mean,
        std=std,
        stage=lambda what: console.say(f"measuring: {what}", quiet=quiet),
    )
    for title, (columns, rows) in result.tables(names):
        console.print_table(title, columns, rows, quiet=quiet)
    machine = result.machine
    console.say(
        f"{machine['processor']}, {machine['processors']} processors; torch {machine['torch']}, "
        f"onnxruntime {machine['onnxruntime']}",
        quiet=quiet,
    )
    console.write_json(json_file, result.to_dict())
    if plot is not None:
        result.plot(plot, names)
