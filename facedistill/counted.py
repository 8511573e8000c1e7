"""A number with what it counts, for messages."""

from __future__ import annotations


def counted(count: int, one: str, many: str) -> str:
    """`1 image is`, `2 images are`: the number and whichever of the two belongs to it."""
    return f"{count} {one if count == 1 else many}"
