"""How a report calls its models: by the end of their path, which says enough and gives nobody's folders away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

_FEWEST_PARTS = 2  # "student/last.safetensors", since every run has a last.safetensors


def model_names(paths: Sequence[str]) -> list[str]:
    """The last two parts of each path, or as many as tell different paths apart."""
    parts = [PurePath(path).parts for path in paths]
    count = _FEWEST_PARTS
    while count < max(map(len, parts), default=0) and len({path[-count:] for path in parts}) < len(set(parts)):
        count += 1
    return [str(PurePath(*path[-count:])) for path in parts]
