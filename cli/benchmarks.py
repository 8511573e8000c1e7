"""The options by which commands take benchmarks, and what they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facedistill.errors import UsageError

from . import console

if TYPE_CHECKING:
    from facedistill.evaluation.suite import Suite

BENCHMARKS = "Benchmarks"

Pairs = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="LIST",
        help="A pair list: LFW's format, or CSV path_a,path_b,same[,fold]. Repeatable.",
        rich_help_panel=BENCHMARKS,
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DATA",
        help="The crops of a pair list: one for each --pairs in their order, or one for all.",
        rich_help_panel=BENCHMARKS,
    ),
]
BinFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--bin",
        metavar="FILE",
        help="A .bin pair set (lfw.bin, agedb_30.bin, ...). Repeatable.",
        rich_help_panel=BENCHMARKS,
    ),
]
AllPairs = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Any data set of crops: TAR at low FAR over all its pairs.",
        rich_help_panel=BENCHMARKS,
    ),
]
Identities = Annotated[
    Path | None,
    typer.Option(
        metavar="LIST",
        help="Of --all-pairs, use only these people: one name a line, or LFW's name<TAB>count.",
        rich_help_panel=BENCHMARKS,
    ),
]
SuiteFile = Annotated[
    Path | None,
    typer.Option(
        "--suite", metavar="FILE", help="A YAML file that names many of these at once.", rich_help_panel=BENCHMARKS
    ),
]
Resamples = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="How often people, or pairs, are drawn anew for the intervals; 0 for none."),
]


def check_resamples(resamples: int) -> None:
    """UsageError for a number that makes no interval."""
    if resamples == 1:
        raise UsageError("one resample makes no interval", place="--resamples", next_step="Give some hundred, or 0")


def open_suite(
    pairs: list[Path] | None,
    images: list[Path] | None,
    bin_file: list[Path] | None,
    all_pairs: Path | None,
    identities: Path | None,
    suite_file: Path | None = None,
    *,
    more: bool = False,
) -> Suite:
    """Everything that these options name.

    Args:
        pairs: lists.
        images: of the lists.
        bin_file: `.bin` sets.
        all_pairs: a data set.
        identities: people of that to keep.
        suite_file: names more of all these.
        more: whether the command judges on something else, too, so that nothing has to be named here.

    Raises:
        UsageError: options that make no call together; and whatever a benchmark raises.
    """
    lists = match_images(pairs or [], images or [])
    if not (lists or bin_file or all_pairs or suite_file or more):
        raise UsageError(
            "there is nothing to evaluate on",
            next_step="Give --pairs LIST --images DATA, --bin FILE or --all-pairs DATA, or several of them",
        )
    if identities is not None and all_pairs is None:
        raise UsageError("--identities is given without --all-pairs", next_step="Add --all-pairs DATA")
    from facedistill.evaluation.benchmark import load_bin_benchmark
    from facedistill.evaluation.pair_list import load_pair_list
    from facedistill.evaluation.suite import Suite, load_suite, open_labelled

    listed = [load_pair_list(path, folder) for path, folder in lists]
    suite = Suite((*listed, *(load_bin_benchmark(path) for path in bin_file or [])))
    if all_pairs is not None:
        suite += Suite(labelled=(open_labelled(all_pairs, identities, note=console.note),))
    return suite if suite_file is None else suite + load_suite(suite_file, note=console.note)


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
