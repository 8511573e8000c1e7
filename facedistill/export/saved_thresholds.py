"""Thresholds that lie in the metadata of an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facedistill.errors import ModelFileError
from facedistill.export.onnx_metadata import add_metadata, read_metadata

KEY = "facedistill.thresholds"
"""Where they lie: a JSON list of objects, see `Threshold.to_dict`."""


def save_thresholds(path: Path, thresholds: Sequence[Mapping[str, Any]]) -> None:
    """Write thresholds into an ONNX file, in the place of earlier ones; errors as of `add_metadata`."""
    add_metadata(path, {KEY: json.dumps(list(thresholds))})


def read_thresholds(path: Path) -> list[dict[str, Any]]:
    """The thresholds in an ONNX file, none where there are none.

    Raises:
        ModelFileError: the file is no ONNX file, or what lies there is no list of thresholds.
    """
    text = read_metadata(path).get(KEY)
    if text is None:
        return []
    try:
        found = json.loads(text)
        sound = all(
            isinstance(each["benchmark"], str) and 0 < each["far"] < 1 and -1 <= each["cosine"] <= 1 for each in found
        )
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise ModelFileError(
            "its saved thresholds are damaged",
            place=path,
            next_step="Save them again, with facedistill threshold --save",
        )
    return list(found)
