"""Element type and shape of the tensors of an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class TensorType:
    """What is known of a tensor.

    Attributes:
        element: an `onnx.TensorProto.DataType`, 0 where unknown.
        shape: a size of each axis, None for one that is not fixed; None where not even the rank is known.
    """

    element: int
    shape: tuple[int | None, ...] | None


def infer_types(model: onnx.ModelProto) -> dict[str, TensorType]:
    """Tensor name -> type, of the outermost graph; a tensor of which nothing is known is left out."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        graph = model.graph
    types = {tensor.name: TensorType(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = read_type(value)
    return types


def read_type(value: onnx.ValueInfoProto) -> TensorType:
    """The type that a graph states of one of its tensors."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    return TensorType(
        tensor.elem_type, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    )
