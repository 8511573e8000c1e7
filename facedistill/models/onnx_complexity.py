"""Parameters and multiply-adds of an ONNX file, counted as `complexity` counts those of a backbone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from onnx import TensorProto

from facedistill.errors import ModelFileError

_CROP = 112  # The side of a standard crop, for a file that takes any.

# Inputs that hold no weights, by operator: statistics, scales of quantisation, limits.
_NO_WEIGHTS = {
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "DequantizeLinear": (1, 2),
    "Pad": (2,),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "Resize": (1, 2),
}
_WEIGHT_TYPES = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxComplexity:
    """What a network costs.

    Attributes:
        parameters: weights and biases, each once. The statistics of batch norms are none; where a batch norm is folded
            into a convolution, a bias stands for what was its scale, shift and statistics.
        multiply_adds: of one image, in convolutions and matrix products; None where the shape of one cannot be told.
    """

    parameters: int
    multiply_adds: int | None


def measure_onnx(path: Path) -> OnnxComplexity:
    """Count the weights of a file and, by ONNX's shape inference, what one image costs.

    Raises:
        ModelFileError: the file cannot be read.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # protobuf's, onnx's own and OSError
        raise ModelFileError(f"the ONNX file cannot be read ({error})", place=path) from error
    images = _fix_input(model.graph)
    shapes = _known_shapes(model)
    costs = [_multiply_adds(node, shapes) for node in model.graph.node if node.op_type in _COSTS]
    known = [cost for cost in costs if cost is not None]
    return OnnxComplexity(_parameters(model.graph), sum(known) // images if len(known) == len(costs) else None)


def _fix_input(graph: Any) -> int:
    """Give the network's input one image of the standard size where it takes any; gives the number of images."""
    weights = {tensor.name for tensor in graph.initializer}
    (source,) = (value for value in graph.input if value.name not in weights)
    axes = source.type.tensor_type.shape.dim
    for axis, size in zip(axes, [1] + [_CROP] * (len(axes) - 1), strict=True):
        if not axis.dim_value:
            axis.dim_value = size
    return int(axes[0].dim_value)


def _parameters(graph: Any) -> int:
    """Elements of the weights that some operator takes; single numbers without an axis are constants of a formula."""
    sizes = {name: math.prod(tensor.dims) for name, tensor in _constants(graph) if tensor.data_type in _WEIGHT_TYPES
             and len(tensor.dims)}  # fmt: skip
    # A bias of quantised weights is a whole number of 32 bits, which elsewhere is a shape or an index.
    biases = {
        name: math.prod(tensor.dims) for name, tensor in _constants(graph) if tensor.data_type == TensorProto.INT32
    }
    used: dict[str, int] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if place in _NO_WEIGHTS.get(node.op_type, ()):
                continue
            if name in sizes:
                used[name] = sizes[name]
            elif name in biases and (node.op_type, place) in (("DequantizeLinear", 0), ("QLinearConv", 8)):
                used[name] = biases[name]
    return sum(used.values())


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _known_shapes(model: Any) -> dict[str, Shape]:
    # What the exporter noted for a batch of any size would stand in the way of the shapes for this one.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    # An operator that it does not know ends the inference or makes it fail: onnxruntime may know it all the same.
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    shapes = {name: tuple(tensor.dims) for name, tensor in _constants(graph)}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.shape.dim):
            shapes[value.name] = tuple(axis.dim_value for axis in kind.shape.dim)
    return shapes


def _multiply_adds(node: Any, shapes: dict[str, Shape]) -> int | None:
    """Of a counted node: the elements of its output times the products that each is the sum of; None if not known."""
    operand, products = _COSTS[node.op_type]
    output, taken = shapes.get(node.output[0]), shapes.get(node.input[operand])
    return None if output is None or taken is None else math.prod(output) * products(node, taken)


def _of_filter(node: Any, weights: Shape) -> int:
    return math.prod(weights[1:])


def _of_row(node: Any, matrix: Shape) -> int:
    return matrix[-1]


def _of_gemm(node: Any, matrix: Shape) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return matrix[0 if transposed else 1]


# Operator -> which of its inputs tells how many products a sum has, and how.
_COSTS: dict[str, tuple[int, Callable[[Any, Shape], int]]] = {
    "Conv": (1, _of_filter),
    "ConvInteger": (1, _of_filter),
    "Gemm": (0, _of_gemm),
    "MatMul": (0, _of_row),
    "MatMulInteger": (0, _of_row),
    "QLinearConv": (3, _of_filter),
    "QLinearMatMul": (0, _of_row),
}
