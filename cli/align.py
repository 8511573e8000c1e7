"""`facedistill align`: a folder of photos -> a folder of aligned face crops, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, progress, say, write_json


def align(
    photos: Annotated[Path, typer.Argument(help="The folder of photos; its tree is kept.")],
    out: Annotated[Path, typer.Argument(help="The folder for the crops and the report.")],
    size: Annotated[int, typer.Option(min=1, max=4096, help="Height and width of the crops in pixels.")] = 112,
    detector: Annotated[str, typer.Option(help="The face detector; see `facedistill detectors`.")] = "mtcnn",
    min_face: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels of the smallest face to look for; by default a tenth of the photo's shorter side."
        ),
    ] = None,
    image_format: Annotated[str, typer.Option("--format", help="Format of the crops: jpg or png.")] = "jpg",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Photos worked on at once; by default one for each processor.")
    ] = None,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first corrupt or truncated image.")] = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Find the main face of every photo in PHOTOS and write it to OUT, aligned to the ArcFace five-point template.

    Photos without a face and files that are no whole image are skipped.
    OUT/align-report.csv says of every photo what became of it.
    """
    from facedistill.align.detectors import DETECTORS
    from facedistill.align.pipeline import align_folder
    from facedistill.align.report import CSV_NAME
    from facedistill.errors import DataError

    with progress("Aligning", unit="photos", quiet=quiet) as callback:
        report = align_folder(
            photos,
            out,
            detector=DETECTORS[detector](min_face=min_face),
            size=size,
            image_format=image_format,
            workers=workers,
            overwrite=overwrite,
            resume=resume,
            strict=strict,
            progress=callback,
        )
    write_json(json_file, report.to_dict())
    columns, rows = report.table()
    print_table(f"{len(report.rows)} photos, {report.seconds:.1f} s", columns, rows, quiet=quiet)
    say(f"Crops: {out}; every photo is listed in {out / CSV_NAME}", quiet=quiet)
    if report.problems:
        first, count = report.problems[0], len(report.problems)
        which = "1 photo has no crop:" if count == 1 else f"{count} photos have no crop, the first is"
        note(f"{which} {first.photo}: {first.reason}")
    if report.leftovers:
        note(f"{len(report.leftovers)} image(s) in {out} belong to none of these photos, such as {report.leftovers[0]}")
    if not report.crops:
        raise DataError(
            "no face was found in any photo",
            place=photos,
            next_step="Try --min-face 20, or photos of higher resolution",
        )
