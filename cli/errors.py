"""Turn exceptions into a message on standard error and an exit status; a traceback only where it was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from facedistill.launcher import launched


@contextmanager
def report() -> Iterator[None]:
    """Exit with 1 or 2 for a `FacedistillError`, 130 when interrupted, 1 for anything unforeseen."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if not launched().first:
            sys.exit(130)  # the first process says it for all
        if str(interruption):
            fail(f"interrupted: {interruption}", 130)
        fail("interrupted. A command that has --resume goes on from what it finished; others begin again", 130)
    except BrokenPipeError:
        # The reader of our output has gone (as with `| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("FACEDISTILL_DEBUG"):
            raise
        from facedistill.errors import FacedistillError

        if isinstance(error, FacedistillError):
            fail(str(error), error.exit_status)
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            fail(f"out of memory ({error}). Use a smaller --batch-size, or fewer --workers", 1)
        if isinstance(error, OSError) and error.strerror:
            fail(f"{error.filename or 'a file'}: {error.strerror.lower()}", 1)
        fail(f"unexpected {type(error).__name__}: {error}. Run again with 'facedistill --debug ...' for the details", 1)


def fail(message: str, status: int) -> None:
    """Print `message` to standard error and exit; of several processes, another than the first says which it is."""
    from rich.console import Console

    place = launched()
    of = "" if place.first else f" (process {place.rank})"
    Console(stderr=True, soft_wrap=True, emoji=False).print(
        f"[bold red]Error{of}:[/] {escape(message)}", highlight=False
    )
    sys.exit(status)


def escape(text: str) -> str:
    """`text` with nothing in it that Rich would take for markup, or the terminal for a command."""
    from rich.markup import escape as escape_markup

    from facedistill.shown_name import printable

    return escape_markup(printable(text, keep="\n"))
