"""A model card as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import re

from facedistill.card.blocks import Block, Code, Facts, Points, Table, Words
from facedistill.card.card import ModelCard
from facedistill.evaluation.report_page.page_style import REPORT_STYLE
from facedistill.evaluation.report_page.page_tables import data_table
from facedistill.page.html import pairs_table, text
from facedistill.page.style import STYLE

# An interval, and a mean with its deviation, which a narrow cell does not break.
_TOGETHER = re.compile(r"\([^()]*\)| ± ")

CARD_STYLE = """
.data{font-size:14px}
.data th,.data td{padding-right:6px}
.data .n{white-space:normal}
.data td+td{padding-left:10px}
section>*{margin:12px 0 0}
section>h2{margin:36px 0 0}
section>p+ul,section>ul{margin-top:6px}
details{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 16px}
summary{cursor:pointer}
pre{overflow-x:auto;margin:10px 0 0;font-size:13px}
"""


def card_page(card: ModelCard) -> str:
    """The whole card; what comes from outside is escaped."""
    sections = "".join(
        f"<section><h2>{text(section.title)}</h2>{''.join(map(_block, section.blocks))}</section>"
        for section in card.sections()
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(card.title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{REPORT_STYLE}{CARD_STYLE}</style></head><body><main><h1>{text(card.title)}</h1>{sections}</main>"
        "</body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Words):
        return f"<p>{text(block.text)}</p>"
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in block.lines)}</ul>"
    if isinstance(block, Facts):
        return pairs_table(block.rows)
    if isinstance(block, Table):
        rows = [
            [_TOGETHER.sub(lambda part: part[0].replace(" ", "\u00a0"), cell) for cell in row] for row in block.rows
        ]
        return data_table(block.columns, rows, as_cards=True)
    return _code(block)


def _code(block: Code) -> str:
    return f"<details><summary>{text(block.title)}</summary><pre>{text(block.text)}</pre></details>"
