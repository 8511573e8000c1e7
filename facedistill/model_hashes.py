"""The SHA-256 sums by which results may know a model file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from facedistill.errors import ModelFileError
from facedistill.export.saved_thresholds import KEY
from facedistill.files import file_sha256


def known_hashes(path: Path) -> tuple[str, ...]:
    """SHA-256 of a model file, as hex, and of the ONNX file that it was before thresholds were saved in it.

    Thresholds are saved in a file after it was judged, and the network is the same before and after.

    Raises:
        ModelFileError: a file that ends in `.onnx` is no ONNX file.
    """
    found = (file_sha256(path),)
    if path.suffix != ".onnx":
        return found
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own error, whose module depends on its version
        raise ModelFileError("the file is no ONNX file", place=path) from error
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != KEY}
    if len(kept) == len(model.metadata_props):
        return found
    onnx.helper.set_model_props(model, kept)
    return (*found, hashlib.sha256(model.SerializeToString()).hexdigest())
