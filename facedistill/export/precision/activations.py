"""What flows inside a network for given images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from facedistill.errors import ModelFileError
from facedistill.export.precision.calibration import CalibrationBatches
from facedistill.onnx_session import open_session

# Names the network in errors; it lies in memory.
_NETWORK = Path("the network")


def read_activations(
    model: onnx.ModelProto, names: Sequence[str], images: npt.NDArray[Any]
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The values of some tensors, a batch of images at a time.

    Args:
        model: a network with one input; it stays as it is.
        names: of tensors of the outermost graph.
        images: (N, ...) network inputs.

    Yields:
        name -> value, for a few images.

    Raises:
        ModelFileError: onnxruntime cannot run the network.
    """
    wanted = list(dict.fromkeys(names))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    given = {output.name for output in model.graph.output}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted if name not in given)
    session = open_session(_NETWORK, device="cpu", model=watched.SerializeToString())
    for feed in CalibrationBatches(images, session.get_inputs()[0].name):
        try:
            values = session.run(wanted, feed)
        except Exception as error:  # onnxruntime's own errors share no public base class
            raise ModelFileError(f"onnxruntime cannot run the network ({error})") from error
        yield dict(zip(wanted, values, strict=True))


def embed(model: onnx.ModelProto, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(N, ...) network inputs -> (N, D) float32, the network's first output; errors as of `read_activations`."""
    name = model.graph.output[0].name
    rows = [values[name] for values in read_activations(model, [name], images)]
    return np.concatenate(rows).astype(np.float32, copy=False)


def cosines(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(N,) cosines between the rows of two (N, D) arrays; 0 for rows of zeros, -1 for what is not finite."""
    a, b = (rows.astype(np.float64) for rows in (ours, theirs))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore"):
        found = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.asarray(np.nan_to_num(found, nan=-1.0))


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """The float32 tensors that nodes of a prepared network write, in order."""
    graph = model.graph
    floats = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    return [name for node in graph.node for name in node.output if name in floats]
