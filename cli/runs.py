"""`facedistill runs`: the run folders there are, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .console import note, print_table, say, write_json


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...", help="Runs, or folders that hold some; the current one if none is given."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="FIGURE", help="The best in this figure first: accuracy, loss, ...; or name, written."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the options in which the runs differ beside their figures.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw figures of all runs over the steps (.png, .svg, .pdf).")
    ] = None,
    figure: Annotated[
        list[str] | None, typer.Option(metavar="FIGURE", help="What --plot draws; repeatable. [default: loss]")
    ] = None,
    json_file: o.JsonFile = None,
    quiet: o.Quiet = False,
) -> None:
    """List training runs: what each trains, how far it is, and what it has reached.

    A run folder holds config.yaml and metrics.jsonl; folders are searched a few levels deep.
    """
    from facedistill.errors import DataError, UsageError
    from facedistill.training.runs_table import find_runs

    if figure and plot is None:
        raise UsageError("--figure says what --plot draws, and that is not given", next_step="Add --plot FILE")
    table = find_runs(folders or [Path()], sort=sort, compared=compare)
    for message in table.notes:
        note(message)
    columns, rows = table.table()
    print_table("", columns, rows, quiet=quiet)
    if compare and len(rows) > 1 and not table.differences:
        say("The runs differ in no option.", quiet=quiet)
    write_json(json_file, table.to_dict())
    if plot is not None:
        try:
            table.plot(plot, figure or ["loss"])
        except OSError as error:
            raise DataError(f"the picture cannot be written ({error.strerror})", place=plot) from error
        say(f"Drew {', '.join(figure or ['loss'])}: {plot}", quiet=quiet)
