"""What a published file of weights is: which backbone of ours it fits, and what it calls each of its layers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from facedistill.checkpoint import BackboneSpec

Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class PublishedLayout:
    """How a published network's tensors fit a backbone.

    Args:
        family: whose network it is, for messages and provenance.
        spec: the backbone of ours.
        input_size: side of its input in pixels.
        layers: our name of each layer that has tensors -> the published one.
        absent: tensors of ours that the published network does without, because they never differ from 1 (weights)
            and 0 (biases) there.
    """

    family: str
    spec: BackboneSpec
    input_size: int
    layers: Mapping[str, str]
    absent: frozenset[str] = frozenset()

    def published_name(self, name: str) -> str:
        """The published name of the tensor that we call `name`."""
        layer, _, tensor = name.rpartition(".")
        return f"{self.layers[layer]}.{tensor}"


class Recognise(Protocol):
    """Tells from names and shapes whether a file is of one family."""

    def __call__(self, shapes: Shapes, place: Path) -> PublishedLayout | None:
        """The layout, None for another family's file; ModelFileError for a member of this one that is not known."""
        ...


def count_numbered(names: Iterable[str], prefix: str) -> int:
    """How many children `prefix0.`, `prefix1.`, ... there are, by the highest number among the names."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,4})\.")
    return max((int(match[1]) + 1 for name in names if (match := pattern.match(name))), default=0)


def embedding_size(shapes: Shapes, linear: str) -> int:
    """D by the linear layer that gives the embedding; the published networks' 512 where the file lacks it."""
    shape = shapes.get(linear, torch.Size())
    return shape[0] if len(shape) == 2 and shape[0] > 0 else 512


def input_size_of_flattened_map(shapes: Shapes, linear: str, channels: int) -> int:
    """Side of the input by the linear layer after a stride-16 map of `channels`; 112 where it does not show."""
    shape = shapes.get(linear, torch.Size())
    side = math.isqrt(shape[1] // channels) if len(shape) == 2 else 0
    return side * 16 if side > 1 and shape[1] == side * side * channels else 112


def input_size_of_global_convolution(shapes: Shapes, convolution: str) -> int:
    """Side of the input by the kernel that spans the stride-16 map; 112 where it does not show."""
    shape = shapes.get(convolution, torch.Size())
    return shape[-1] * 16 if len(shape) == 4 and shape[-1] > 1 else 112
