"""A network in half precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from facedistill.errors import ModelFileError
from facedistill.export.graph.wiring import count_readers, find_writers
from facedistill.export.precision.activations import float_tensors, read_activations
from facedistill.export.precision.prepared import prepare, read_weights

LARGEST_VALUE = 65504 / 4
"""A tensor with larger values stays float32: half precision ends at 65504, and other images may give more."""

# What sums many squares, or divides by the root of a small number, loses its meaning in half precision: a variance of
# 1e-12 is 0 there, and the squares of a 512-dimensional embedding may sum up to infinity.
KEPT_FLOAT = (
    *("BatchNormalization", "GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
    *("LpNormalization", "LpPool", "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
    *("Clip", "Div", "Exp", "Log", "Pow", "Reciprocal", "Softmax", "Sqrt"),
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "ReduceSumSquare"),
    *("DequantizeLinear", "QuantizeLinear"),
)

# What the converter calls the nodes that it casts from float32 with.
_OWN_CAST = re.compile(r"_cast_to_fp16_node$|^graph_input_cast\d+$")


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with weights and activations in float16; its input and output stay as they are.

    onnxruntime's converter does it. In float32 stay norms and what they are made of when spelled out, whose small
    or large numbers half precision does not have, layers whose values are too large for it (tried on noise, and on
    an image of zeros), and what onnxruntime itself keeps from it. Where two such nodes follow each other, nothing is
    rounded between them. A provider without kernels for float16, such as the CPU's for most layers, computes in
    float32 and rounds the results.

    Args:
        model: a float32 network; it stays as it is.

    Raises:
        ModelFileError: onnxruntime cannot run the network, or its converter fails.
    """
    source = prepare(model)
    large = _too_large(source)
    metadata = {entry.key: entry.value for entry in source.metadata_props}
    try:
        result: onnx.ModelProto = convert_float_to_float16(
            source,
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT],
            node_block_list=[node.name for node in source.graph.node if large & {*node.input, *node.output}],
        )
    except Exception as error:  # it raises whatever its helpers do
        raise ModelFileError(f"the network cannot be converted to half precision ({error})") from error
    _drop_twins(result.graph)
    _drop_round_trips(result.graph)
    ONNXModel(result).topological_sort()
    del result.graph.value_info[:]  # of values beside norms that stay, it tells the type that they had
    helper.set_model_props(result, metadata)
    return result


def _too_large(model: onnx.ModelProto) -> set[str]:
    """The tensors whose values half precision does not hold with some room."""
    large = {name for name, weight in read_weights(model).items() if _reaches(weight)}
    for images in _trial_images(model.graph.input[0]):
        for values in read_activations(model, float_tensors(model), images):
            large |= {name for name, value in values.items() if _reaches(value)}
    return large


def _reaches(values: npt.NDArray[Any]) -> bool:
    # Written so that a NaN counts too.
    return values.dtype == np.float32 and values.size > 0 and not np.abs(values).max() <= LARGEST_VALUE


def _trial_images(value: onnx.ValueInfoProto) -> Iterator[npt.NDArray[Any]]:
    """A batch of noise and one of zeros, in the shape of the network's input."""
    kind = value.type.tensor_type
    # Any number of images is 2, and any number of pixels 112.
    shape = [axis.dim_value or (2 if index == 0 else 112) for index, axis in enumerate(kind.shape.dim)]
    generator = np.random.default_rng(0)
    if kind.elem_type == TensorProto.FLOAT:
        noise: npt.NDArray[Any] = generator.uniform(-1, 1, shape).astype(np.float32)
    else:
        noise = generator.integers(0, 256, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    yield noise
    yield np.zeros_like(noise)


def _drop_twins(graph: onnx.GraphProto) -> None:
    """Keep one of the casts of a tensor; the converter adds one for each of the nodes that read it."""
    written: set[str] = set()
    for node in list(graph.node):
        if node.output[0] in written:
            graph.node.remove(node)
        written.add(node.output[0])


def _drop_round_trips(graph: onnx.GraphProto) -> None:
    """Let what reads a float32 tensor by way of float16 read it as it is."""
    writers = find_writers(graph)
    outputs = {output.name for output in graph.output}
    whole: dict[str, str] = {}
    for back in graph.node:
        there = writers.get(back.input[0]) if _casts_to(back, TensorProto.FLOAT) else None
        # Other casts than the converter's own may be from what is no float32.
        if there is not None and _casts_to(there, TensorProto.FLOAT16) and _OWN_CAST.search(there.name):
            whole[back.output[0]] = there.input[0]
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = whole.get(name, name)
        if node.output[0] in whole and node.output[0] in outputs:
            node.CopyFrom(helper.make_node("Identity", [whole[node.output[0]]], list(node.output), name=node.name))
    readers = count_readers(graph)
    # First those back to float32, then those to float16 that nobody reads any more.
    for element in (TensorProto.FLOAT, TensorProto.FLOAT16):
        for node in [each for each in graph.node if _casts_to(each, element) and not readers[each.output[0]]]:
            readers.subtract(node.input)
            graph.node.remove(node)


def _casts_to(node: onnx.NodeProto, element: int) -> bool:
    return node.op_type == "Cast" and any(each.name == "to" and each.i == element for each in node.attribute)
