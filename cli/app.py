"""The Typer application, and what stands between a library error and the user."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

import typer

from .config import accept_config
from .errors import report

app = typer.Typer(
    name="facedistill",
    help="Distil a large face-recognition model into a small one, and prove that it still recognises people.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        from facedistill import __version__

        typer.echo(f"facedistill {__version__}")
        raise typer.Exit


@app.callback()
def root(
    show_version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Options that stand before the command."""
    if debug:
        os.environ["FACEDISTILL_DEBUG"] = "1"


def register_commands() -> None:
    """Attach each command; importing them imports nothing heavy."""
    from . import (
        align,
        bench,
        card,
        compare,
        convert,
        demo,
        distill,
        doctor,
        embed,
        eval,  # noqa: A004 - it is what the command is called
        export,
        identify,
        inspect,
        listings,
        make_pairs,
        prune,
        runs,
        threshold,
        train_teacher,
        verify,
    )

    commands: dict[str, Callable[..., None]] = {
        "align": align.align,
        "inspect": inspect.inspect,
        "convert": convert.convert,
        "make-pairs": make_pairs.make_pairs,
        "train-teacher": train_teacher.train_teacher,
        "distill": distill.distill,
        "prune": prune.prune,
        "eval": eval.eval_command,
        "compare": compare.compare,
        "bench": bench.bench_command,
        "threshold": threshold.threshold,
        "identify": identify.identify,
        "verify": verify.verify,
        "export": export.export,
        "card": card.card,
        "embed": embed.embed,
        "runs": runs.runs,
        "models": listings.models,
        "heads": listings.heads,
        "methods": listings.methods,
        "detectors": listings.detectors,
        "demo": demo.demo,
        "doctor": doctor.doctor,
    }
    for name, command in commands.items():
        app.command(name)(accept_config(command))


register_commands()


def main() -> None:
    """Run the command line; errors become a message and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test or another program may have put something else there
            # A file name may be no valid text; that is no reason to fail once the work is done.
            stream.reconfigure(errors="backslashreplace")
    with report():
        # What a scheduler stops a program with is an interruption like any other.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        app(prog_name="facedistill")
    sys.exit(0)
