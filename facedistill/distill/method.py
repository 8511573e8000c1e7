"""What a distillation method is: a loss on a batch of student and teacher embeddings, with figures to log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from torch import nn

from facedistill.embedders.cached_rows import TeacherRows
from facedistill.loss import LossAndFigures
from facedistill.registry import Registry


class DistillationBatch(NamedTuple):
    """What a method may look at.

    Attributes:
        student: (B, D) float embeddings, with gradient, not normalised.
        teacher: (B, T) float32 embeddings of the same crops, mirrored where the student's were, without gradient.
        labels: (B,) int64 identities.
        student_features: the student's last feature map (B, C, H, W) or tokens (B, L, C), with gradient; None unless
            the method needs features.
        teacher_features: the teacher's, likewise, without gradient.
        teacher_images: (B, 3, S, S) float, the same views as the teacher's network takes them; None likewise.
        largest_identity: how many images the batch has of the person it has most of; None where only the device knows.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    labels: torch.Tensor
    student_features: torch.Tensor | None = None
    teacher_features: torch.Tensor | None = None
    teacher_images: torch.Tensor | None = None
    largest_identity: int | None = None


@dataclass(frozen=True)
class Needs:
    """What a method asks of the run that uses it.

    Attributes:
        teacher: a teacher's embeddings.
        equal_sizes: embeddings of student and teacher of the same length.
        several_images_per_identity: batches in which people have several images.
        pairs: the images of a batch together, since it compares them with one another; where several processes train,
            it is given the batch of all of them. Otherwise its loss has to be a mean over images.
        centres: the teacher's class centres of the training identities, which also serve as its classifier.
        rows: the teacher's embeddings of all the training images, not of a batch alone.
        features: feature maps of student and teacher, which only a live torch teacher has.
        labels: who is who among the images; for the listing alone.
    """

    teacher: bool = True
    equal_sizes: bool = False
    several_images_per_identity: bool = False
    pairs: bool = False
    centres: bool = False
    rows: bool = False
    features: bool = False
    labels: bool = False


@dataclass(frozen=True)
class Setting:
    """What a run tells a method that is built for it.

    Args:
        student_size: D, the length of the student's embeddings.
        teacher_size: T, that of the teacher's; 0 without a teacher.
        identities: C, the people trained on.
        batches_per_epoch: how often the method is called in an epoch.
        centres: (C, T) float32 unit vectors, the teacher's class centres; None unless the method needs them.
        rows: the teacher's embeddings of all training images; None likewise.
        student_features: shape of the student's features of one image, (C, H, W) or (L, C); None unless needed.
        teacher_features: likewise.
        teacher_backbone: the teacher's network, frozen, in evaluation mode; None unless features are needed.
    """

    student_size: int
    teacher_size: int
    identities: int
    batches_per_epoch: int = 1
    centres: torch.Tensor | None = None
    rows: TeacherRows | None = None
    student_features: tuple[int, ...] | None = None
    teacher_features: tuple[int, ...] | None = None
    teacher_backbone: nn.Module | None = None


class DistillationMethod(Protocol):
    """A loss that the training loop calls without knowing it; an `nn.Module` where it holds parameters or buffers."""

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """The loss and figures of one batch."""
        ...


class MethodOptions(BaseModel):
    """The options of a method; each has a class of its own, whose fields carry a description and their limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """A true or false is none of an option that is no flag; it would count as 1 or 0 otherwise."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("it is no flag")
        return value


Options = TypeVar("Options", bound=MethodOptions)


@dataclass(frozen=True)
class MethodKind(Generic[Options]):
    """A registered method, before it is built.

    Args:
        build: options and setting to a method that is ready to be called.
        options: the class of its options, with the published values (or ours, where it says so) as defaults.
        needs: what it needs, given its options.
        formula: the loss as plain text, its symbols explained.
        published: figures that its source reports, and for which networks and data; "" where none are known.
    """

    build: Callable[[Options, Setting], DistillationMethod]
    options: type[Options]
    needs: Callable[[Options], Needs]
    formula: str
    published: str

    def __call__(self, options: Options, setting: Setting) -> DistillationMethod:
        """A fresh method; what it draws at random comes from torch's global generator."""
        return self.build(options, setting)


METHODS: Registry[MethodKind[Any]] = Registry("method")


def register_method(
    name: str,
    *,
    options: type[Options],
    needs: Needs | Callable[[Options], Needs],
    summary: str,
    source: str,
    formula: str,
    published: str = "",
) -> Callable[[Callable[[Options, Setting], DistillationMethod]], Callable[[Options, Setting], DistillationMethod]]:
    """Decorator that files the function (or class) that builds a method under `name`.

    Args:
        name: as the command line calls it.
        options: the class of its options.
        needs: what it needs, or a function of its options that tells.
        summary: one line about it.
        source: where it was published.
        formula: the loss as plain text.
        published: figures that its source reports.
    """

    def decorate(
        build: Callable[[Options, Setting], DistillationMethod],
    ) -> Callable[[Options, Setting], DistillationMethod]:
        given = needs if callable(needs) else lambda _: needs
        METHODS.register(name, summary=summary, source=source)(MethodKind(build, options, given, formula, published))
        return build

    return decorate
