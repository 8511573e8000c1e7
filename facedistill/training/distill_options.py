"""What a distillation run can be told beside what every training can."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from facedistill.distill.terms import Term, parse_terms
from facedistill.training.options import TrainingOptions


class DistillOptions(TrainingOptions):
    """Options of a distillation run.

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
    cache: Literal["once", "auto", "off"] = "once"

    @property
    def terms(self) -> tuple[Term, ...]:
        """The methods; UsageError where they cannot be told."""
        return parse_terms(self.method, self.plus, self.set)
