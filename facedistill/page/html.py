"""The small pieces of HTML that pages are made of; everything that comes from outside is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

# Names that are no valid UTF-8 hold lone surrogates, which no encoding takes; control characters mean nothing in HTML.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def text(value: object) -> str:
    """Escaped for a text or a quoted attribute; what cannot be shown becomes a replacement character."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def plain(value: Any) -> str:
    """A JSON-like value in words, not yet escaped: `{"name": "mtcnn", "tall": None}` is "name: mtcnn, tall: none"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_nested(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_nested, value)) or "none"
    return str(value)


def _nested(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, Mapping | list | tuple) and value else plain(value)


def percent(count: int, total: int) -> str:
    """A share in percent, or a dash where there is nothing to share."""
    return f"{100 * count / total:.2f}" if total else "-"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 face, 2 faces."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def pairs_table(rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values, without a head."""
    body = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(plain(value))}</td></tr>' for name, value in rows)
    return f'<table class="pairs"><tbody>{body}</tbody></table>'


def counts_table(head: str, counts: Mapping[str, int], total: int) -> str:
    """Counts with their share of `total`, as numbers and as a bar."""
    rows = []
    for name, count in counts.items():
        share = min(100 * count / total, 100) if total else 0
        bar = f'<span class="share"><span style="width:{share:.2f}%"></span></span>'
        numbers = f'<td class="n">{count:,}</td><td class="n">{percent(count, total)}</td>'
        rows.append(f'<tr><th scope="row">{text(name)}</th>{numbers}<td class="b">{bar}</td></tr>')
    heads = f'<th scope="col">{text(head)}</th><th scope="col" class="n">number</th><th scope="col" class="n">%</th>'
    return f'<table class="counts"><thead><tr>{heads}<td></td></tr></thead><tbody>{"".join(rows)}</tbody></table>'


def tile(number: str, label: str) -> str:
    """One large figure with what it counts beneath."""
    return f'<div class="tile"><strong>{text(number)}</strong><span>{text(label)}</span></div>'
