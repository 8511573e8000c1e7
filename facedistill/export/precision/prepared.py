"""An ONNX network in the shape that the changes of precision start from."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

from facedistill.export.graph.opset import convert_opset
from facedistill.export.graph.wiring import main_opset

# A weight has one scale a channel from 13 on.
LOWEST_OPSET = 13


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a network of opset 13 or later, whose constants are initializers and whose nodes all have names.

    The types of its tensors are written down too, as far as ONNX can infer them.

    Raises:
        ModelFileError: an older network cannot be converted.
    """
    # Where the opset is the same already, this is not always a copy.
    source = convert_opset(model, LOWEST_OPSET) if main_opset(model) < LOWEST_OPSET else model
    copy = onnx.ModelProto()
    copy.CopyFrom(source)
    graph = copy.graph
    for node in [each for each in graph.node if each.op_type == "Constant" and each.attribute[0].name == "value"]:
        graph.initializer.append(node.attribute[0].t)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)
    # Files of the first ONNX years list their weights as inputs too.
    weights = {tensor.name for tensor in graph.initializer}
    for value in [each for each in graph.input if each.name in weights]:
        graph.input.remove(value)
    names: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{index}"
        names.add(node.name)
    return onnx.shape_inference.infer_shapes(copy)


def weight_axis(node: onnx.NodeProto, weights: dict[str, npt.NDArray[Any]]) -> int | None:
    """The axis of a layer's outputs in its weight, which is its second input; None for what is no such layer.

    Args:
        node: of the graph.
        weights: the initializers by name.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    weight = weights.get(node.input[1])
    if weight is None or weight.dtype != "float32":
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 1
    return 1 if weight.ndim == 2 else None


def read_weights(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """The initializers of a network by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
