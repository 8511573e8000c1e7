"""A file's name as a table or a message shows it."""

from __future__ import annotations

LONGEST = 80
"""Characters of a name that are shown; of a longer one the middle is left out."""


def shown_name(name: str) -> str:
    r"""One short line whatever the name holds: a control character, which would reach the terminal, becomes \x1b."""
    plain = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    if len(plain) <= LONGEST:
        return plain
    half = (LONGEST - 3) // 2
    return f"{plain[:half]}...{plain[-half:]}"
