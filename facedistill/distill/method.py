"""What a distillation method is: a loss on a batch of student and teacher embeddings, with figures to log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from facedistill.loss import LossAndFigures
from facedistill.registry import Registry


class DistillationBatch(NamedTuple):
    """What a method may look at.

    Attributes:
        student: (B, D) float embeddings, with gradient, not normalised.
        teacher: (B, T) float32 embeddings of the same crops, mirrored where the student's were, without gradient.
        labels: (B,) int64 identities.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Needs:
    """What a method asks of the run that uses it.

    Attributes:
        teacher: a teacher's embeddings.
        equal_sizes: embeddings of student and teacher of the same length.
        several_images_per_identity: batches in which people have several images.
        pairs: the images of a batch together, since it compares them with one another; where several processes train,
            it is given the batch of all of them. Otherwise its loss has to be a mean over images.
    """

    teacher: bool = True
    equal_sizes: bool = False
    several_images_per_identity: bool = False
    pairs: bool = False


class DistillationMethod(Protocol):
    """A loss that the training loop calls without knowing it."""

    needs: Needs

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """The loss and figures of one batch."""
        ...


@dataclass(frozen=True)
class MethodOptions:
    """The options that methods take; each reads those that concern it and leaves the others.

    Args:
        margin_min: lowest margin of triplet distillation.
        margin_max: highest margin of triplet distillation.
        margin: the margin of the fixed-margin triplet loss.
        alpha: width of the semi-hard band.
        distance: "squared-l2" or "angle".
    """

    margin_min: float = 0.2
    margin_max: float = 0.5
    margin: float = 0.35
    alpha: float = 0.35
    distance: str = "squared-l2"


class MethodFactory(Protocol):
    """Builds a method from the options."""

    def __call__(self, options: MethodOptions) -> DistillationMethod:
        """A method, ready to be called."""
        ...


METHODS: Registry[MethodFactory] = Registry("method")
