"""Write a model card to files, and the one that every run folder has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facedistill.card.card import ModelCard, make_card
from facedistill.card.markdown import card_markdown
from facedistill.card.page import card_page
from facedistill.errors import DataError, UsageError
from facedistill.files import write_atomically
from facedistill.training.run_summary import read_run

FILE = "card.md"
"""The card in a run folder."""

_SPELLED: dict[str, Callable[[ModelCard], str]] = {".md": card_markdown, ".html": card_page}


def check_card_path(path: Path) -> None:
    """UsageError where the suffix of `path` is none that a card can have; to be called before the work."""
    if path.suffix not in _SPELLED:
        raise UsageError(f"a card cannot be written as '{path.suffix}'", place=path, next_step="Use .md or .html")


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as Markdown or HTML, by the suffix.

    Raises:
        UsageError: another suffix.
        DataError: the file cannot be written.
    """
    check_card_path(path)
    try:
        write_atomically(path, _SPELLED[path.suffix](card).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"the card cannot be written ({error.strerror})", place=path) from error


def write_run_card(run: Path) -> Path:
    """Write the card of a run into its folder, from what the folder holds; gives where it lies."""
    path = run / FILE
    write_card(make_card(run, followed=followed_accuracy(run)), path)
    return path


def followed_accuracy(path: Path) -> float | None:
    """Accuracy at the last record on the benchmark that a run followed; None where `path` is no run, or it had none."""
    try:
        return read_run(path, name=path.name).last("accuracy")
    except DataError:
        return None
