"""The errors that reach a user: each names its cause, its place and the next step, and carries an exit status."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FacedistillError(Exception):
    """Base of every error that is meant to be read by a user rather than debugged.

    Args:
        cause: what is wrong, one sentence without a full stop.
        place: the file, option or item it was found in.
        next_step: what to do about it.
    """

    exit_status = 1

    def __init__(self, cause: str, *, place: object | None = None, next_step: str | None = None) -> None:
        self.cause = cause
        self.place = None if place is None else str(place)
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.cause if self.place is None else f"{self.place}: {self.cause}"
        return text if self.next_step is None else f"{text}. {self.next_step}"


class UsageError(FacedistillError):
    """The call was wrong: an unknown name, an option out of range, options that exclude one another."""

    exit_status = 2


class DataError(FacedistillError):
    """A data set, an image, a pair list or a label is not what it has to be."""


class ModelFileError(FacedistillError):
    """A checkpoint, an ONNX file or a cache cannot be loaded, or is not the one that is meant."""


class PreprocessingMismatchError(FacedistillError):
    """Two parts that must see the same pixels were made for different ones."""


class GateError(FacedistillError):
    """A promised property (parity, accuracy) does not hold, so the work is refused."""


class TrainingError(FacedistillError):
    """A training run cannot go on, for example because its loss is no longer finite."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A `UsageError` for `name`, with the nearest known name as a suggestion."""
    names = sorted(known)
    nearest = get_close_matches(name, names, n=1)
    suggestion = f"Did you mean '{nearest[0]}'?" if nearest else f"Known: {', '.join(names)}"
    return UsageError(f"there is no {kind} called '{name}'", next_step=suggestion)
