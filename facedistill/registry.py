"""One small typed registry: names to factories, with an error that suggests the nearest name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from facedistill.errors import unknown_name

Factory = TypeVar("Factory", bound=Callable[..., object])


@dataclass(frozen=True)
class Entry(Generic[Factory]):
    """What is registered under a name: the factory, one line about it, and where it was published."""

    name: str
    factory: Factory
    summary: str
    source: str


class Registry(Generic[Factory]):
    """Names to factories of one `kind` ("backbone", "head", "method")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[Factory]] = {}

    def register(self, name: str, *, summary: str, source: str) -> Callable[[Factory], Factory]:
        """Decorator that files a factory under `name`; a name that is taken raises ValueError."""

        def decorate(factory: Factory) -> Factory:
            if name in self._entries:
                raise ValueError(f"a {self.kind} called '{name}' is registered already")
            self._entries[name] = Entry(name, factory, summary, source)
            return factory

        return decorate

    def __getitem__(self, name: str) -> Factory:
        """The factory called `name`; raises UsageError with the nearest name where there is none."""
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name].factory

    def __iter__(self) -> Iterator[Entry[Factory]]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries
