"""`facedistill align`: a folder of photos -> a folder of aligned face crops, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, progress, say, silence_opencv, write_json

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
    from facedistill.errors import DataError

    silence_opencv()
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
    write_json(json_file, report.to_dict())
    columns, rows = report.table()
    speed = f", {report.worked / report.seconds:.0f} a second" if report.worked and report.seconds else ""
    print_table("", columns, rows, quiet=quiet)
    say(f"{report.crops} crops; {report.worked} photos in {report.seconds:.1f} s{speed}", quiet=quiet)
    say(f"Crops: {out}; to look at: {out / 'report.html'}; in tables: landmarks.csv and missed.csv", quiet=quiet)
    if report.added:
        note(f"{report.added} photo(s) have come since the first run and were taken in")
    if report.remade:
        note(f"{report.remade} crop(s) were missing and have been made again")
    if report.lost:
        note(f"{report.lost} crop(s) in landmarks.csv are missing, and their photos are gone")
    if report.missed:
        note(f"{report.missed} photo(s) gave no crop; {out / 'missed.csv'} says why")
    if report.ignored:
        most = sorted(report.ignored.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in most[:6])
        note(f"{sum(report.ignored.values())} file(s) in {photos} are no images that can be read here: {kinds}")
    if report.strangers > 0:
        note(f"{report.strangers} image(s) in {out} belong to none of these photos; remove them before training")
    if not report.crops:
        raise DataError(
            "no face was found in any photo",
            place=photos,
            next_step="Try --min-face 20, or photos of higher resolution",
        )
