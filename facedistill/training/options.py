"""What a training run can be told, checked before any work is done."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facedistill.data.batches.augmentation_options import AugmentationOptions
from facedistill.errors import UsageError


class TrainingOptions(BaseModel):
    """Options that every training command shares.

    The batch size is that of all processes together; with `accumulate`, so many batches make a step. The defaults of
    momentum, weight decay and gradient clipping are those of the ArcFace training code; the rest is ours.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=2)
    accumulate: int = Field(default=1, ge=1)
    lr: float = Field(default=0.1, gt=0)
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    gamma: float = Field(default=0.1, gt=0, le=1)
    power: float = Field(default=1.0, gt=0)
    lr_floor: float = Field(default=0.0, ge=0, lt=1)
    warmup_epochs: float = Field(default=1.0, ge=0)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    mirror: bool = True
    init_color: Literal["rgb", "bgr"] | None = None
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32", "bf16", "16"] = "32"
    channels_last: bool = True
    compile: bool = False
    workers: int | None = Field(default=None, ge=0, le=128)
    max_corrupt: float = Field(default=0.01, ge=0, le=1)
    augment_crop: float = Field(default=0.0, ge=0, le=1)
    augment_occlusion: float = Field(default=0.0, ge=0, le=1)
    augment_photometric: float = Field(default=0.0, ge=0, le=1)
    augment_low_resolution: float = Field(default=0.0, ge=0, le=1)
    augment_jpeg: float = Field(default=0.0, ge=0, le=1)
    log_every: int = Field(default=500, ge=1)
    eval_every: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=None, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    save_minutes: float = Field(default=15.0, gt=0)
    keep: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _check(self) -> TrainingOptions:
        if self.milestones and self.schedule != "step":
            raise ValueError("milestones go with the schedule step")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov goes with sgd and a momentum above 0")
        return self

    @property
    def augmentation(self) -> AugmentationOptions:
        """The `augment_...` options."""
        names = [field.name for field in fields(AugmentationOptions)]
        return AugmentationOptions(**{name: getattr(self, f"augment_{name}") for name in names})


Options = TypeVar("Options", bound=BaseModel)


def select_options(kind: type[Options], arguments: dict[str, Any]) -> Options:
    """Those of a command's arguments that are options of the given kind, checked.

    Raises:
        UsageError: an option is wrong; the message names the first that is, and why.
    """
    try:
        return kind(**{name: arguments[name] for name in kind.model_fields if name in arguments})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # a fault of several options together
            raise UsageError(first["msg"].removeprefix("Value error, ")) from error
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{first['msg'].lower()}, and it is {first['input']!r}", place=name) from error
