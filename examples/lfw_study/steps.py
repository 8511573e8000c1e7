"""The steps of the study: each is a `facedistill` command, run once and remembered."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill_cli.app import app

from facedistill.errors import DataError, FacedistillError, UsageError
from facedistill.files import write_atomically

INTERRUPTED = 130


class StepFailedError(FacedistillError):
    """A command of the study did not do its work; it has said why itself."""


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        name: what the study calls it, and the name of the file that remembers it.
        words: the command, without the `facedistill` before it, as far as it decides what is made.
        manner: further words, such as where it runs, with which it is the same step.
    """

    name: str
    words: tuple[str, ...]
    manner: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """As it is typed into a shell."""
        return shlex.join(("facedistill", *self.words, *self.manner))

    @property
    def wanted(self) -> str:
        """The part that has to be the same when the study goes on."""
        return shlex.join(("facedistill", *self.words))


class Journal:
    """Remembers in `STUDY/commands/NAME.json` what was run to its end, and with what command."""

    def __init__(self, study: Path) -> None:
        self._folder = study / "commands"

    def read(self, name: str) -> dict[str, Any]:
        """What is known of a step, such as its `command`; empty if it has not come to its end."""
        path = self._folder / f"{name}.json"
        if not path.exists():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {"wanted": content["wanted"], "command": content["command"], **content}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError("what is known of the step cannot be read", place=path, next_step="Remove it") from error

    def all(self) -> dict[str, dict[str, Any]]:
        """Step -> what is known of it, of every step that has come to its end, by name."""
        return {path.stem: self.read(path.stem) for path in sorted(self._folder.glob("*.json"))}

    def is_done(self, step: Step) -> bool:
        """Whether it has come to its end.

        Raises:
            UsageError: it has, with another command than today's.
        """
        known = self.read(step.name)
        if known and known["wanted"] != step.wanted:
            raise UsageError(
                f"this was run as `{known['wanted']}`, and is now asked for as `{step.wanted}`",
                place=step.name,
                next_step=f"Give the recipe another name, or remove {self._folder / step.name}.json and what it made",
            )
        return bool(known)

    def finish(self, step: Step, **noted: Any) -> None:
        """Remember that it has come to its end."""
        content = {"wanted": step.wanted, "command": step.command, **noted}
        write_atomically(self._folder / f"{step.name}.json", (json.dumps(content, indent=2) + "\n").encode())


def run(words: Sequence[str]) -> None:
    """Run a command within this process.

    Raises:
        StepFailedError: it failed.
        KeyboardInterrupt: it was interrupted.
    """
    status: object = 0
    try:
        app(list(words), prog_name="facedistill")
    except SystemExit as stop:
        status = stop.code
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise StepFailedError(f"the command ended with status {status}", place=shlex.join(("facedistill", *words)))


def run_once(journal: Journal, step: Step, say: Callable[[str], None]) -> None:
    """Run a step unless it has come to its end before."""
    if not journal.is_done(step):
        say(f"$ {step.command}")
        run([*step.words, *step.manner])
        journal.finish(step)
