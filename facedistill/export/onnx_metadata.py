"""Facts added to the metadata of an ONNX file that is there."""

from __future__ import annotations

from pathlib import Path

import onnx

from facedistill.errors import ModelFileError
from facedistill.files import write_atomically


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file; ModelFileError where it is none."""
    return {entry.key: entry.value for entry in _load(path).metadata_props}


def add_metadata(path: Path, facts: dict[str, str]) -> None:
    """Add facts to a file's metadata, in the place of those of the same keys; nothing else of it changes.

    The file's SHA-256 does change, and with it what caches of embeddings know the model by.

    Raises:
        ModelFileError: the file is no ONNX file.
    """
    model = _load(path)
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in model.metadata_props} | facts)
    write_atomically(path, model.SerializeToString())


def _load(path: Path) -> onnx.ModelProto:
    try:
        # Weights that lie in other files stay there.
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelFileError(f"the ONNX file cannot be read ({error.strerror})", place=path) from error
    except Exception as error:  # protobuf's own error, whose module depends on its version
        raise ModelFileError("the file is no ONNX file", place=path) from error
    if not model.graph.output:  # an empty file is an empty model
        raise ModelFileError("the file is no ONNX file", place=path)
    return model
