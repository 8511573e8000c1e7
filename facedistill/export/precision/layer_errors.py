"""How far the values of each layer are from those of another form of the same network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from facedistill.export.precision.activations import read_activations


def layer_errors(
    reference: onnx.ModelProto, other: onnx.ModelProto, images: npt.NDArray[Any]
) -> list[tuple[str, float]]:
    """Compare the layers of two networks, such as a float one and what was quantised of it.

    Layers are matched by the names of what they write. A tensor that is rounded to 8 bits is compared as the layers
    after it read it. Rounding adds up on the way: where one layer is at fault, the cosine falls there and stays low.

    Args:
        reference: the network as it should be.
        other: the network in question.
        images: (N, ...) inputs of both.

    Returns:
        (name of the layer, cosine between its values for all images) in the order of `reference`. Of a layer that
        gives numbers in only one of the two, or of another shape, nothing is said.

    Raises:
        ModelFileError: onnxruntime cannot run one of them.
    """
    twins = _as_read(other)
    layers = {node.output[0]: node.name or node.output[0] for node in reference.graph.node if node.output[0] in twins}
    if not layers:
        return []
    products = {name: np.zeros(3) for name in layers}
    ours = read_activations(reference, list(layers), images)
    theirs = read_activations(other, [twins[name] for name in layers], images)
    for expected, found in zip(ours, theirs, strict=True):
        for name in list(products):
            a, b = expected[name], found[twins[name]]
            if a.dtype.kind != "f" or b.dtype.kind != "f" or a.shape != b.shape:
                del products[name]
                continue
            a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
            with np.errstate(invalid="ignore", over="ignore"):
                products[name] += (a @ b, a @ a, b @ b)
    return [(layers[name], _cosine(*products[name])) for name in products]


def _as_read(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor -> itself, or what is left of it after it was rounded to 8 bits and back."""
    written = {name: name for node in model.graph.node for name in node.output if name}
    back = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in back:
            written[node.input[0]] = back[node.output[0]]
    return written


def _cosine(product: float, ours: float, theirs: float) -> float:
    if ours == 0 == theirs:
        return 1.0
    if ours == 0 or theirs == 0:
        return 0.0
    return float(product / math.sqrt(ours) / math.sqrt(theirs))
