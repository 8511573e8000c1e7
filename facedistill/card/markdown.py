"""A model card as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from facedistill.card.blocks import Block, Code, Facts, Points, Table, Words
from facedistill.card.card import ModelCard
from facedistill.shown_name import printable

# Inside a word an underscore is one.
_MARKUP = re.compile(r"([\\`*\[\]#|~]|(?<!\w)_|_(?!\w))")


def card_markdown(card: ModelCard) -> str:
    """The whole card; what comes from outside is escaped."""
    parts = [f"# {escape(card.title)}"]
    for section in card.sections():
        parts += [f"## {escape(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would take for markup."""
    return _MARKUP.sub(r"\\\1", html.escape(printable(" ".join(text.split())), quote=False))


def _block(block: Block) -> str:
    if isinstance(block, Words):
        return escape(block.text)
    if isinstance(block, Points):
        return "\n".join(f"- {escape(line)}" for line in block.lines)
    if isinstance(block, Facts):
        return _table(("", ""), block.rows)
    if isinstance(block, Table):
        return _table(block.columns, block.rows)
    return _code(block)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines)


def _code(block: Code) -> str:
    # Longer than any row of backticks inside, which would end it.
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", block.text))]))
    return f"{escape(block.title)}:\n\n{fence}yaml\n{printable(block.text, keep=chr(10))}\n{fence}"
