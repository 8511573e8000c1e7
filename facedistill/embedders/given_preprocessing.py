"""Which of several models a preprocessing from the command line is for: those that carry none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from facedistill.embedders.cache import is_cache
from facedistill.embedders.load import find_checkpoint
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY
from facedistill.errors import ModelFileError, UsageError


def preprocessing_for_each(
    paths: Sequence[Path], *, color: str | None, mean: float | None, std: float | None
) -> list[dict[str, Any]]:
    """`color`, `mean` and `std` of `load_embedder` for each model; None for those that carry their own.

    Raises:
        UsageError: something is given, and every model carries its own.
        ModelFileError: there is no such model, or an ONNX file cannot be read.
    """
    bare = [not carries_preprocessing(path) for path in paths]
    if (color, mean, std) != (None, None, None) and not any(bare):
        raise UsageError(
            "every model carries its own preprocessing; --color, --mean and --std are for published weights and "
            "foreign ONNX files",
            next_step="Leave them out",
        )
    given = {"color": color, "mean": mean, "std": std}
    return [given if foreign else dict.fromkeys(given) for foreign in bare]


def carries_preprocessing(path: Path) -> bool:
    """Whether what lies there says itself what it does to a crop."""
    if is_cache(path):
        return True
    file = find_checkpoint(path)
    if file.suffix != ".onnx":
        return file.suffix == ".safetensors"
    try:
        metadata = onnx.load(file, load_external_data=False).metadata_props
    except Exception as error:  # protobuf's and onnx's own errors share no public base class
        raise ModelFileError(f"the ONNX file cannot be read ({error})", place=file) from error
    return any(entry.key == PREPROCESSING_KEY for entry in metadata)
