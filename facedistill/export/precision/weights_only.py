"""Store the weights of a network in 8 bits and leave its arithmetic in float."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from facedistill.export.graph.wiring import fresh_name
from facedistill.export.precision.prepared import prepare, read_weights, weight_axis

FEWEST_VALUES = 1024
"""Weights of fewer values stay as they are, since there is nothing to save."""


def quantise_weights(model: onnx.ModelProto, layers: Collection[str] | None = None) -> onnx.ModelProto:
    """Round the weights of Conv, Gemm and MatMul to int8 with one scale an output channel.

    A DequantizeLinear node turns them back to float, so the file is about a quarter of the size and as fast as
    before, and nothing has to be calibrated. Weights become -127 to 127 times a scale, the largest of a channel
    being 127; biases and everything else stay float32.

    Args:
        model: a float network; it stays as it is.
        layers: the names of the nodes whose weights are rounded; None for all.

    Returns:
        A network of opset 13 or later.

    Raises:
        ModelFileError: an older network cannot be converted.
    """
    result = prepare(model)
    weights = read_weights(result)
    axes: dict[str, int] = {}
    for node in result.graph.node:
        axis = weight_axis(node, weights)
        if axis is not None and (layers is None or node.name in layers):
            # One weight may serve several layers.
            axes.setdefault(node.input[1], axis)
    inputs = {value.name for value in result.graph.input}
    added = []
    for name, axis in axes.items():
        if weights[name].size >= FEWEST_VALUES and name not in inputs:
            added.append(_store(result.graph, name, weights[name], axis))
    nodes = [*added, *result.graph.node]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def round_weight(weight: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A weight as int8 of the same shape, and the (channels,) float32 scales along `axis`."""
    others = tuple(each for each in range(weight.ndim) if each != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale.ravel()


def _store(graph: onnx.GraphProto, name: str, weight: npt.NDArray[Any], axis: int) -> onnx.NodeProto:
    """Put int8 values in the place of a weight; gives the node that turns them back to it."""
    values, scales = round_weight(weight, axis)
    stored, scale = fresh_name(graph, f"{name}_quantised"), fresh_name(graph, f"{name}_scale")
    graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == name))
    graph.initializer.extend([numpy_helper.from_array(values, stored), numpy_helper.from_array(scales, scale)])
    return helper.make_node("DequantizeLinear", [stored, scale], [name], name=f"{name}_dequantised", axis=axis)
