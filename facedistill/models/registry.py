"""The backbones by name, and how one is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import nn

from facedistill.errors import UsageError
from facedistill.registry import Registry


class BackboneFactory(Protocol):
    """Builds a backbone: float (N, 3, S, S) -> float (N, D), S = `input_size`, D = `embedding_size`."""

    def __call__(self, *, embedding_size: int, width: float, input_size: int) -> nn.Module:
        """A freshly initialised backbone."""
        ...


class FamilyFactory(Protocol):
    """Builds the backbone that a library knows by `member`, as a `BackboneFactory` does."""

    def __call__(self, member: str, *, embedding_size: int, width: float, input_size: int) -> nn.Module:
        """A freshly initialised backbone."""
        ...


@dataclass(frozen=True)
class Family:
    """Backbones of another library: `prefix` and the library's own name make a name here, as in `timm:resnet18`."""

    prefix: str
    factory: FamilyFactory
    summary: str
    source: str
    embedding_size: int


class BackboneRegistry(Registry[BackboneFactory]):
    """Backbones by name, each with the embedding size that it was published with, and whole families of others."""

    def __init__(self) -> None:
        super().__init__("backbone")
        self._embedding_sizes: dict[str, int] = {}
        self.families: dict[str, Family] = {}

    def register(
        self, name: str, *, summary: str, source: str, embedding_size: int = 128
    ) -> Callable[[BackboneFactory], BackboneFactory]:
        """Decorator that files a factory under `name`, with the embedding size where nobody asks for another."""
        file = super().register(name, summary=summary, source=source)

        def decorate(factory: BackboneFactory) -> BackboneFactory:
            self._embedding_sizes[name] = embedding_size
            return file(factory)

        return decorate

    def register_family(
        self, prefix: str, *, summary: str, source: str, embedding_size: int
    ) -> Callable[[FamilyFactory], FamilyFactory]:
        """Decorator that files a factory for every name that begins with `prefix` and a colon."""

        def decorate(factory: FamilyFactory) -> FamilyFactory:
            self.families[prefix] = Family(prefix, factory, summary, source, embedding_size)
            return factory

        return decorate

    def __getitem__(self, name: str) -> BackboneFactory:
        """The factory called `name`; raises UsageError with the nearest name where there is none.

        Whether the library of a family knows the rest of the name shows when the backbone is built.
        """
        family = self.family(name)
        if family is not None:
            return partial(family.factory, name.removeprefix(f"{family.prefix}:"))
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self.family(name) is not None)

    def family(self, name: str) -> Family | None:
        """The family that `name` belongs to, if any."""
        prefix, colon, _ = name.partition(":")
        return self.families.get(prefix) if colon else None

    def embedding_size(self, name: str) -> int:
        """D of the backbone called `name`; raises UsageError with the nearest name where there is none."""
        family = self.family(name)
        if family is not None:
            return family.embedding_size
        self[name]
        return self._embedding_sizes[name]


BACKBONES = BackboneRegistry()


def default_embedding_size(name: str) -> int:
    """D where nobody asks for another: the size that the backbone was published with.

    Raises:
        UsageError: an unknown name.
    """
    return BACKBONES.embedding_size(name)


def build_backbone(name: str, *, embedding_size: int, width: float = 1.0, input_size: int = 112) -> nn.Module:
    """The backbone called `name`, freshly initialised from torch's global generator.

    Args:
        name: a registered name, or that of a family's member, such as `timm:resnet18`.
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
