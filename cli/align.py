"""`facedistill align`: a folder of photos -> a folder of aligned face crops, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, progress, say, silence_codecs, write_json

FACE = "Which faces"


def align(
    photos: Annotated[Path, typer.Argument(help="The folder of photos; its tree is kept.")],
    out: Annotated[Path, typer.Argument(help="The folder for the crops and the report.")],
    size: Annotated[int, typer.Option(min=1, max=4096, help="Height and width of the crops in pixels.")] = 112,
    detector: Annotated[str, typer.Option(help="The face detector; see `facedistill detectors`.")] = "mtcnn",
    detector_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its weights (yunet, scrfd), or the landmarks themselves (landmarks)."),
    ] = None,
    image_format: Annotated[str, typer.Option("--format", help="Format of the crops: jpg, png or webp.")] = "jpg",
    quality: Annotated[int, typer.Option(help="Quality of jpg and webp, 1 to 100.")] = 95,
    face: Annotated[
        str,
        typer.Option(
            help="Which face of several: main (large and near the middle), largest, central, best (score) or all.",
            rich_help_panel=FACE,
        ),
    ] = "main",
    min_face: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels of the smallest face to look for and to take; by default a tenth of the photo's "
            "shorter side.",
            rich_help_panel=FACE,
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Lowest score of the detector, 0 to 1.", rich_help_panel=FACE)
    ] = None,
    max_yaw: Annotated[
        float | None, typer.Option(help="Degrees that a face may be turned to a side.", rich_help_panel=FACE)
    ] = None,
    min_sharpness: Annotated[
        float | None,
        typer.Option(help="Lowest sharpness of a crop; see landmarks.csv for what is usual.", rich_help_panel=FACE),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that work at once; by default one for each processor.")
    ] = None,
    device: o.Device = "auto",
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first corrupt or truncated image.")] = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Find the face of every photo in PHOTOS and write it to OUT, aligned to the ArcFace five-point template.

    OUT/landmarks.csv lists the crops, OUT/missed.csv whatever gave none, and why; OUT/report.html shows both.
    """
    from facedistill.align.choice import Limits
    from facedistill.align.detectors import DETECTORS
    from facedistill.align.pipeline import align_folder
    from facedistill.errors import DataError, UsageError

    silence_codecs()
    if json_file is not None and any(json_file.resolve().is_relative_to(folder.resolve()) for folder in (photos, out)):
        raise UsageError("the result would be written among the photos or the crops", place=json_file)
    limits = Limits(min_face=min_face, min_score=min_score, max_yaw=max_yaw, min_sharpness=min_sharpness)
    with progress("Aligning", unit="photos", quiet=quiet) as callback:
        report = align_folder(
            photos,
            out,
            detector=DETECTORS[detector](min_face=min_face, file=detector_file, device=device),
            size=size,
            face=face,
            limits=limits,
            image_format=image_format,
            quality=quality,
            workers=workers,
            overwrite=overwrite,
            resume=resume,
            strict=strict,
            progress=callback,
        )
    columns, rows = report.table()
    speed = f", {report.worked / report.seconds:.0f} a second" if report.worked and report.seconds else ""
    print_table("", columns, rows, quiet=quiet)
    say(f"Crops: {report.crops}. Photos this time: {report.worked} in {report.seconds:.1f} s{speed}", quiet=quiet)
    say(f"They are in {out}; to look at: {out / 'report.html'}; as tables: landmarks.csv, missed.csv", quiet=quiet)
    for line in report.notes():
        note(line)
    write_json(json_file, report.to_dict())
    if not report.crops:
        raise DataError("no photo gave a crop", place=photos, next_step=report.advice())
