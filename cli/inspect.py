"""`facedistill inspect`: whether a data set of face crops is fit for training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facedistill.errors import DataError, UsageError

from . import options as o
from .console import note, print_table, progress, say, silence_codecs, write_json

if TYPE_CHECKING:
    from facedistill.inspection.image_counts import ImageCounts
    from facedistill.inspection.report import InspectReport

MODEL = "Labels and people, by a model"
ALIGNMENT = "Alignment"


def inspect(
    data: Annotated[
        list[Path],
        typer.Argument(help="A folder (one sub-folder a person), .rec, .bin, .tar, a list of images; or several."),
    ],
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="BENCH", help="A benchmark that DATA is to share nothing with. Repeatable."),
    ] = None,
    exclude_list: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what to leave out, for --exclude of the training commands (CSV)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the images per identity (.png, .svg, .pdf).")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="A run folder, checkpoint or .onnx file that judges labels.", rich_help_panel=MODEL
        ),
    ] = None,
    color: o.Color = None,
    mean: o.Mean = None,
    std: o.Std = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a call of the network.", rich_help_panel=MODEL)] = 64,
    sample: Annotated[
        int,
        typer.Option(
            min=0, help="Crops in which a detector looks for the landmarks; 0 for none.", rich_help_panel=ALIGNMENT
        ),
    ] = 200,
    detector: Annotated[
        str, typer.Option(help="The face detector; see `facedistill detectors`.", rich_help_panel=ALIGNMENT)
    ] = "mtcnn",
    detector_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The detector's weights, where it needs a file.", rich_help_panel=ALIGNMENT),
    ] = None,
    device: o.Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images; one a processor, at most 8.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 where there is any warning.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier --exclude-list.", rich_help_panel=o.GENERAL)
    ] = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Say what DATA holds: people, sizes, broken files, copies, alignment; with --model wrong labels too.

    Nothing is changed. Each warning is a line with the next step.
    """
    from facedistill.align.detectors import DETECTORS
    from facedistill.counted import counted
    from facedistill.inspection.contents import open_contents
    from facedistill.inspection.exclude_list import check_exclude_path
    from facedistill.inspection.inspect_dataset import check_detector, inspect_dataset
    from facedistill.inspection.tables import all_tables
    from facedistill.onnx_session import check_device
    from facedistill.shown_name import shown_name

    if model is None and (color, mean, std) != (None, None, None):
        raise UsageError("--color, --mean and --std are given without --model", next_step="Add --model MODEL")
    silence_codecs()
    check_device(device)
    check_detector(detector)
    if exclude_list is not None:
        check_exclude_path(exclude_list, overwrite=overwrite)
    if plot is not None:
        from facedistill.evaluation.roc_plot import check_plot_path

        check_plot_path(plot)
    factory = DETECTORS[detector]
    looker = factory(file=detector_file, device=device) if sample else None
    contents = open_contents(data, note=note)
    benchmarks = [open_contents(path, note=note) for path in against or []]
    embedder = None
    if model is not None:
        from facedistill.embedders.load import load_embedder

        embedder = load_embedder(model, device=device, color=color, mean=mean, std=std, note=note)
    with progress("Inspecting", quiet=quiet) as callback:
        report = inspect_dataset(
            contents,
            detector=looker,
            sample=sample,
            embedder=embedder,
            batch_size=batch_size,
            against=benchmarks,
            workers=workers,
            progress=callback,
        )
    write_json(json_file, report.to_dict())
    for number, table in enumerate(all_tables(report)):
        print_table("" if number else shown_name(contents.place), *table, quiet=quiet)
    if plot is not None:
        draw(report.image_counts, plot, quiet=quiet)
    if exclude_list is not None:
        write_list(report, exclude_list, quiet=quiet)
    warnings = report.warnings
    for warning in warnings:
        note(warning)
    if not warnings:
        say("Nothing to warn about.", quiet=quiet)
    elif strict:
        raise DataError(
            f"{counted(len(warnings), 'warning', 'warnings')}, and --strict accepts none",
            place=contents.place,
            next_step="See the notes above",
        )


def draw(counts: ImageCounts | None, path: Path, *, quiet: bool) -> None:
    """Write the picture of the images per identity, where there are identities."""
    from facedistill.inspection.histogram_plot import plot_image_counts

    if counts is None:
        note(f"{path} is not drawn: the images belong to no identity")
        return
    try:
        plot_image_counts(counts, path)
    except OSError as error:
        raise DataError(f"the picture cannot be written ({error.strerror})", place=path) from error
    say(f"Drew the images per identity: {path}", quiet=quiet)


def write_list(report: InspectReport, path: Path, *, quiet: bool) -> None:
    """Write what to leave out, an empty list where that is nothing."""
    from facedistill.counted import counted
    from facedistill.inspection.exclude_list import find_exclusions, write_exclude_list

    found = find_exclusions(report)
    write_exclude_list(path, found)
    images = sum(exclusion.kind == "image" for exclusion in found)
    people = len(found) - images
    say(
        f"Wrote {path}: {counted(images, 'image', 'images')} and {counted(people, 'identity', 'identities')} to leave "
        "out, for --exclude of the training commands",
        quiet=quiet,
    )
