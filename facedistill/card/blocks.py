"""What a page is made of before anybody decides whether it becomes Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first column says whose they are."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Text as it is, such as a configuration; `title` says what."""

    title: str
    text: str


Block = Words | Points | Facts | Table | Code


@dataclass(frozen=True)
class Section:
    """A headline with what stands below it."""

    title: str
    blocks: tuple[Block, ...]
