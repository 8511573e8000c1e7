"""A file's name as a table or a message shows it."""

from __future__ import annotations

LONGEST = 80
"""Characters of a name that are shown; of a longer one the middle is left out."""


def printable(text: str, *, keep: str = "") -> str:
    r"""`text` with \x1b and the like for whatever is not printable and would command the terminal, but for `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in text)


def shown_name(name: str) -> str:
    """One short line whatever the name holds."""
    plain = printable(name)
    if len(plain) <= LONGEST:
        return plain
    half = (LONGEST - 3) // 2
    return f"{plain[:half]}...{plain[-half:]}"
