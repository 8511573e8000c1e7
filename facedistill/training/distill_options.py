"""What a distillation run can be told beside what every training can."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from facedistill.distill.terms import Term, parse_terms
from facedistill.training.options import TrainingOptions

CACHE_WORDS = ("once", "auto", "off")
"""Embed the data before the first step; keep that below the user's folder of caches; or let the teacher look live."""


class DistillOptions(TrainingOptions):
    """Options of a distillation run.

    `cache` is one of CACHE_WORDS, or the folder of a cache to make or to use: a path of several parts, one that begins
    with a dot, or a folder that is there.

    `method` and each of `plus` are "NAME" or "NAME:WEIGHT", each of `set` "OPTION=VALUE" or "NAME.OPTION=VALUE"; see
    `facedistill.distill.terms`.
    """

    student: str | None = None
    width: float | None = Field(default=None, gt=0)
    embedding_size: int | None = Field(default=None, ge=1)
    input_size: int | None = Field(default=None, ge=32)
    method: str = "triplet-distillation"
    plus: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    images_per_identity: int = Field(default=4, ge=2)
    lookalikes: int = Field(default=1, ge=1)
    cache: str = "once"

    @field_validator("cache")
    @classmethod
    def _check_cache(cls, value: str) -> str:
        # A folder has to look like one, since a misspelt word would make a folder of that name.
        if value not in CACHE_WORDS and not (
            len(Path(value).parts) > 1 or value.startswith(".") or Path(value).is_dir()
        ):
            raise ValueError(f"use {', '.join(CACHE_WORDS)} or a folder such as ./{value}")
        return value

    @property
    def live(self) -> bool:
        """Whether the teacher is to look at every view."""
        return self.cache == "off"

    @property
    def terms(self) -> tuple[Term, ...]:
        """The methods; UsageError where they cannot be told."""
        return parse_terms(self.method, self.plus, self.set)
