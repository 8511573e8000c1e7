"""What commands print: tables, notes, progress, and the JSON file of a result."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import escape

# Seconds between two plain progress lines where the output is no terminal.
PLAIN_INTERVAL = 15.0


def note(message: str) -> None:
    """A line about something that was assumed or skipped, on standard error."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"[yellow]note:[/] {escape(message)}", highlight=False)


def say(message: str, *, quiet: bool = False) -> None:
    """A plain line on standard output."""
    if not quiet:
        from rich.console import Console

        Console(soft_wrap=True).print(escape(message), highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, quiet: bool = False) -> None:
    """A table; columns that hold nothing but numbers are set flush right."""
    if quiet:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        # Models and benchmarks are often told apart by the end of their names, so those fold rather than being cut.
        table.add_column(escape(column), justify="right" if numeric(rows, index) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width of its own; a table squeezed into 80 columns helps nobody.
        console = Console(width=160)
    console.print(table)


def numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether every cell of a column is a number, a dash or empty."""
    cells = [row[column] for row in rows if row[column] not in ("", "-")]
    return bool(cells) and all(cell.lstrip("+-")[:1].isdigit() for cell in cells)


def silence_codecs() -> None:
    """Keep OpenCV and the codecs beneath it from printing about broken images, without a file name, over the progress.

    libjpeg and libpng write to file descriptor 2 itself, so that leads nowhere from here on, and `sys.stderr` to where
    it led before. With --debug everything stays as it is.
    """
    import cv2

    if os.environ.get("FACEDISTILL_DEBUG"):
        return
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    before = sys.__stderr__
    if before is not None and sys.stderr is before:
        before.flush()
        sys.stderr = os.fdopen(os.dup(2), "w", encoding=before.encoding, errors="backslashreplace", buffering=1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def write_json(path: Path | None, value: Any) -> None:
    """Write a command's result as JSON where `--json` asked for it."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        from facedistill.errors import DataError

        raise DataError(f"the result cannot be written ({error.strerror})", place=path) from error


@contextmanager
def progress(description: str, *, unit: str = "images", quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total): a bar with rate and time left on a terminal, a line now and then elsewhere."""
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        yield from _bar(description, unit)
    else:
        yield _plain_lines(description, unit)


def _bar(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(description, total=None, rate="")
    started = 0.0
    first: list[int] = []

    def update(done: int, total: int) -> None:
        nonlocal started
        # Shown from the first step to the last only, so that of several bars no two are on the screen at once.
        if not first:
            first.append(done)
            started = time.monotonic()
            bar.start()
        rate = (done - first[0]) / max(1e-6, time.monotonic() - started)
        bar.update(task, completed=done, total=total, rate=f"{rate:.1f} {unit}/s" if rate else "")
        if done >= total:
            bar.stop()

    try:
        yield update
    finally:
        bar.stop()


def _plain_lines(description: str, unit: str) -> Callable[[int, int], None]:
    started = last = time.monotonic()
    first: list[int] = []

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not first:
            first.append(done)
        if now - last >= PLAIN_INTERVAL:
            last = now
            rate = (done - first[0]) / max(1e-6, now - started)
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            print(f"{description}: {done}/{total} {unit}, {rate:.1f}/s{left}", file=sys.stderr, flush=True)

    return update
