"""`facedistill convert`: a data set in another format, with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .console import note, progress, say, silence_codecs, write_json

if TYPE_CHECKING:
    from facedistill.data.conversion.convert import Conversion

SHOWN = 5  # skipped or renamed images that are named; --json has them all


def convert(
    data: o.Data,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder, or a file that ends in .rec or .bin.", show_default=False)
    ],
    to: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="folder, rec, bin or shards; by OUT's suffix if left out.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="LIST", help="The pairs of a .bin: LFW's format or CSV, over DATA.")
    ] = None,
    identities: o.Identities = None,
    exclude: o.Exclude = None,
    check: Annotated[bool, typer.Option("--check", help="Decode every image, and leave corrupt ones out.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an image that cannot be read instead of leaving it out.")
    ] = False,
    overwrite: o.Overwrite = False,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Write DATA as a folder of images, a .rec, a .bin or tar shards; the images' bytes stay as they are."""
    from facedistill.data.conversion.convert import convert as convert_dataset
    from facedistill.data.conversion.target import check_target, choose_target
    from facedistill.evaluation.pair_list import load_pair_list

    from .training import open_training_data

    target = choose_target(out, to)
    check_target(target, overwrite=overwrite, sources=[str(path) for path in data])
    silence_codecs()
    dataset = open_training_data(data, identities, exclude, quiet=quiet)
    benchmark = None if pairs is None else load_pair_list(pairs, dataset)
    with progress("converting", quiet=quiet) as callback:
        result = convert_dataset(
            dataset, target, pairs=benchmark, overwrite=overwrite, check=check, strict=strict, progress=callback
        )
    write_json(json_file, result.to_dict())
    _report(result, check=check, json_file=json_file, quiet=quiet)


def _report(result: Conversion, *, check: bool, json_file: Path | None, quiet: bool) -> None:
    from facedistill.counted import counted
    from facedistill.shown_name import shown_name

    counts = [counted(result.images, "image", "images")]
    if result.identities is not None:
        counts.append(counted(result.identities, "person", "people"))
    if result.pairs is not None:
        counts.append(counted(result.pairs, "pair", "pairs"))
    say(f"{', '.join(counts)} written to {result.target.path}", quiet=quiet)
    unreadable = "could not be read or decoded" if check else "could not be read"
    for one, many, listed in (
        (f"image {unreadable} and is left out", f"images {unreadable} and are left out", result.skipped),
        (
            "image has another name now, which every system can hold",
            "images have other names now, which every system can hold",
            result.renamed,
        ),
    ):
        if listed:
            note(f"{counted(len(listed), one, many)}:")
            for name, other in listed[:SHOWN]:
                note(f"  {shown_name(name)}: {shown_name(other)}")
        if len(listed) > SHOWN:
            where = "--json FILE lists them all" if json_file is None else f"{json_file} lists them all"
            note(f"  and {len(listed) - SHOWN} more; {where}")
    for line in result.notes:
        note(line)
