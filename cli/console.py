"""What commands print: tables, notes, progress, and the JSON file of a result."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facedistill.launcher import launched
from facedistill.shown_name import printable

from .errors import escape

# Seconds between two plain progress lines where the output is no terminal.
PLAIN_INTERVAL = 15.0


def note(message: str) -> None:
    """A line about something that was assumed or skipped, on standard error; of several processes, by the first."""
    if not launched().first:
        return
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, emoji=False).print(f"[yellow]note:[/] {escape(message)}", highlight=False)


def say(message: str, *, quiet: bool = False) -> None:
    """A plain line on standard output; of several processes, by the first."""
    if not quiet and launched().first:
        from rich.console import Console

        Console(soft_wrap=True, emoji=False).print(escape(message), highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, quiet: bool = False) -> None:
    """A table; columns that hold nothing but numbers are set flush right."""
    if quiet or not launched().first:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        # Models and benchmarks are often told apart by the end of their names, so those fold rather than being cut.
        table.add_column(escape(column), justify="right" if numeric(rows, index) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(emoji=False)
    if not console.is_terminal:
        # A file or a pipe has no width of its own; a table squeezed into 80 columns helps nobody.
        console = Console(width=160, emoji=False)
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
    if path is None or not launched().first:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        from facedistill.errors import DataError

        raise DataError(f"the result cannot be written ({error.strerror})", place=path) from error


class Display:
    """Shows how far some work is; this one shows nothing."""

    def __call__(self, done: int, total: int) -> None:
        """So much of so much is done."""

    def tell(self, status: str) -> None:
        """How it goes, in a few words, until the next."""

    def close(self) -> None:
        """It is over."""


@contextmanager
def progress(description: str, *, unit: str = "images", quiet: bool = False) -> Iterator[Display]:
    """A bar with rate and time left on a terminal, a line now and then elsewhere; called with (done, total)."""
    display = Display()
    if not quiet and launched().first:
        display = Bar(description, unit) if sys.stderr.isatty() else PlainLines(description, unit)
    try:
        yield display
    finally:
        display.close()


class Bar(Display):
    """A bar, and below it how the work goes."""

    def __init__(self, description: str, unit: str) -> None:
        from rich.console import Console, RenderableType
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class ProgressWithStatus(Progress):
            """A progress display with a line of its own for the status."""

            status = ""

            def get_renderables(self) -> Iterator[RenderableType]:
                yield from super().get_renderables()
                if self.status:
                    yield Text(f"  {self.status}", style="dim", overflow="ellipsis", no_wrap=True)

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._unit = unit
        self._bar = ProgressWithStatus(*columns, console=Console(stderr=True, emoji=False), transient=True)
        self._task = self._bar.add_task(description, total=None, rate="")
        self._started = 0.0
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Shown from the first call to the last only, so that of several bars no two are on the screen at once."""
        if self._first is None:
            self._first = done
            self._started = time.monotonic()
            self._bar.start()
        rate = (done - self._first) / max(1e-6, time.monotonic() - self._started)
        self._bar.update(self._task, completed=done, total=total, rate=f"{rate:.1f} {self._unit}/s" if rate else "")
        if done >= total:
            self._bar.stop()

    def tell(self, status: str) -> None:
        """On the line below the bar."""
        self._bar.status = printable(status)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


class PlainLines(Display):
    """A line every `PLAIN_INTERVAL` seconds."""

    def __init__(self, description: str, unit: str) -> None:
        self._description = description
        self._unit = unit
        self._started = self._last = time.monotonic()
        self._first: int | None = None
        self._status = ""

    def __call__(self, done: int, total: int) -> None:
        """Print if it is time."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._last >= PLAIN_INTERVAL:
            self._last = now
            rate = (done - self._first) / max(1e-6, now - self._started)
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            print(
                f"{self._description}: {done}/{total} {self._unit}, {rate:.1f}/s{left}{self._status}",
                file=sys.stderr,
                flush=True,
            )

    def tell(self, status: str) -> None:
        """At the end of the next line."""
        self._status = f"; {status}"
