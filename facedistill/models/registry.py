"""The backbones by name, and how one is built."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from facedistill.errors import UsageError
from facedistill.registry import Registry


class BackboneFactory(Protocol):
    """Builds a backbone: float (N, 3, S, S) -> float (N, D), S = `input_size`, D = `embedding_size`."""

    def __call__(self, *, embedding_size: int, width: float, input_size: int) -> nn.Module:
        """A freshly initialised backbone."""
        ...


BACKBONES: Registry[BackboneFactory] = Registry("backbone")


def default_embedding_size(name: str) -> int:
    """D where nobody asks for another: 512 for the IResNet family and 128 for the compact ones, as published."""
    return 512 if name.startswith("iresnet") else 128


def build_backbone(name: str, *, embedding_size: int, width: float = 1.0, input_size: int = 112) -> nn.Module:
    """The backbone called `name`, freshly initialised from torch's global generator.

    Args:
        name: a registered name.
        embedding_size: D, at least 1.
        width: multiplier of the channel counts, above 0.
        input_size: side of the square input in pixels.

    Raises:
        UsageError: an unknown name, or a value out of range.
    """
    if embedding_size < 1:
        raise UsageError(f"the embedding size is {embedding_size}, it must be 1 or more")
    if not width > 0:
        raise UsageError(f"the width multiplier is {width}, it must be above 0")
    if input_size < 32:
        raise UsageError(f"the input size is {input_size}, the backbones take 32 pixels or more")
    return BACKBONES[name](embedding_size=embedding_size, width=width, input_size=input_size)
