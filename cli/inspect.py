"""`facedistill inspect`: whether a folder of face crops is fit for training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, progress, say, silence_codecs, write_json


def inspect(
    data: Annotated[Path, typer.Argument(help="The folder of face crops, one sub-folder a person.")],
    sample: Annotated[
        int, typer.Option(min=0, help="Crops in which a detector looks for the landmarks; 0 leaves that out.")
    ] = 200,
    detector: Annotated[str, typer.Option(help="The face detector; see `facedistill detectors`.")] = "mtcnn",
    detector_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The detector's weights, where it needs a file.")
    ] = None,
    device: o.Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images; one a processor, at most 8.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 where there is any warning.")] = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Say what DATA holds: people, sizes, broken files, copies across people, and whether the crops are aligned.

    Nothing is changed. Each warning is a line with the next step.
    """
    from facedistill.align.detectors import DETECTORS
    from facedistill.errors import DataError
    from facedistill.inspection.inspect_folder import check_detector, inspect_folder
    from facedistill.inspection.warnings import counted
    from facedistill.onnx_session import check_device
    from facedistill.shown_name import shown_name

    silence_codecs()
    check_device(device)
    check_detector(detector)
    factory = DETECTORS[detector]
    looker = factory(file=detector_file, device=device) if sample else None
    with progress("Inspecting", quiet=quiet) as callback:
        report = inspect_folder(data, detector=looker, sample=sample, workers=workers, progress=callback)
    write_json(json_file, report.to_dict())
    for title, table in (
        (shown_name(str(data)), report.table()),
        ("", report.alignment_table()),
        ("", report.findings_table()),
    ):
        if table is not None and table[1]:
            print_table(title, *table, quiet=quiet)
    warnings = report.warnings
    for warning in warnings:
        note(warning)
    if not warnings:
        say("Nothing to warn about.", quiet=quiet)
    elif strict:
        raise DataError(
            f"{counted(len(warnings), 'warning', 'warnings')}, and --strict accepts none",
            place=data,
            next_step="See the notes above",
        )
