"""Let a network give embeddings of length 1."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from facedistill.errors import ModelFileError
from facedistill.export.graph.constants import Constants
from facedistill.export.graph.wiring import find_writers, fresh_name, main_opset, rename_reads

SMALLEST_LENGTH = 1e-12
"""Added to the length that an embedding is divided by, so that one of zeros stays zeros; as in torch's normalize."""

# Since it, ReduceL2 reads its axes from an input.
_AXES_AS_INPUT = 18


def normalise_output(model: onnx.ModelProto) -> None:
    """Divide, in place, each embedding of the first output by its length; the output keeps its name and its type.

    It is written as ReduceL2, Add and Div in float32, and not as LpNormalization, for which runtimes differ about an
    embedding of zeros; the squares of a float16 embedding would be too large for its own type.

    Raises:
        ModelFileError: the first output is not of a float type, or no node writes it.
    """
    graph = model.graph
    output = graph.output[0]
    element = output.type.tensor_type.elem_type
    writer = find_writers(graph).get(output.name)
    if element not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE) or writer is None:
        raise ModelFileError("the network's first output is no embedding")
    constants = Constants(model)
    name = output.name
    raw = fresh_name(graph, f"{name}_raw")
    rename_reads(graph, name, raw)
    writer.output[list(writer.output).index(name)] = raw
    half = element == TensorProto.FLOAT16
    single, length, safe, unit = (
        fresh_name(graph, f"{name}_{part}") for part in ("float32", "length", "safe_length", "unit")
    )
    embedding = single if half else raw
    if half:
        graph.node.append(helper.make_node("Cast", [raw], [single], name=single, to=TensorProto.FLOAT))
    if main_opset(model) >= _AXES_AS_INPUT:
        axes = constants.add(f"{name}_axes", np.array([1], dtype=np.int64))
        graph.node.append(helper.make_node("ReduceL2", [embedding, axes], [length], name=length, keepdims=1))
    else:
        graph.node.append(helper.make_node("ReduceL2", [embedding], [length], name=length, axes=[1], keepdims=1))
    dtype = np.float64 if element == TensorProto.DOUBLE else np.float32
    smallest = constants.add(f"{name}_smallest_length", np.array([SMALLEST_LENGTH], dtype))
    graph.node.append(helper.make_node("Add", [length, smallest], [safe], name=safe))
    graph.node.append(helper.make_node("Div", [embedding, safe], [unit if half else name], name=unit))
    if half:
        graph.node.append(helper.make_node("Cast", [unit], [name], name=f"{unit}_float16", to=TensorProto.FLOAT16))
