"""`facedistill demo`."""

from __future__ import annotations


def demo() -> None:
    """The whole road on made-up faces."""
