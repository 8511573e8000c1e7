"""Fold batch norms into the layer before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from facedistill.export.graph.constants import Constants
from facedistill.export.graph.training_mode import in_training_mode
from facedistill.export.graph.wiring import count_readers, find_writers, main_opset, remove_unread

Vector = npt.NDArray[np.float64]
ChannelMap = tuple[Vector, Vector]

# Before it, Gemm and the arithmetic operators broadcast by rules of their own.
_FIRST_OPSET = 7


def fold_batch_norms(model: onnx.ModelProto) -> int:
    """Fold, in place, what scales and shifts the channels of a Conv or Gemm into its weights; returns how many nodes.

    That is BatchNormalization as it works after training, and Mul, Div, Add and Sub with one constant for all or one
    a channel, which is how some converters write it. Results stay the same but for rounding.

    What is left alone: a batch norm in training mode, one before which there is no such layer (in front of a padded
    convolution it cannot be folded exactly), a layer whose result is read by others too or is an output of the
    network, weights that are no constants, operator sets below 7, and anything inside branches and loops. Weights
    that several layers share are folded for the one layer and stay for the others.
    """
    if main_opset(model) < _FIRST_OPSET:
        return 0
    graph = model.graph
    constants = Constants(model)
    readers = count_readers(graph)
    writers = find_writers(graph)
    replaced: list[str] = []
    folded: list[int] = []
    for index, node in enumerate(graph.node):
        for layer in [writers[name] for name in node.input if name in writers and readers[name] == 1]:
            channel_map = _channel_map(node, layer, constants, main_opset(model))
            before = _fold(layer, channel_map, constants) if channel_map is not None else None
            if before is not None:
                replaced += [*before, *node.input]
                layer.output[0] = node.output[0]
                writers[node.output[0]] = layer
                folded.append(index)
                break
    for index in reversed(folded):
        del graph.node[index]
    remove_unread(graph, replaced)
    return len(folded)


def _channel_map(node: onnx.NodeProto, layer: onnx.NodeProto, constants: Constants, opset: int) -> ChannelMap | None:
    """Scale and shift of each channel, of shape (C,), where a node does no more than that to a layer's result."""
    weights = constants.get(layer.input[1]) if layer.op_type in ("Conv", "Gemm") and not layer.domain else None
    if weights is None or node.domain:
        return None
    channels = weights.shape[_channel_axis(layer)]
    if node.op_type == "BatchNormalization":
        values = [constants.get(name) for name in node.input[1:]]
        if in_training_mode(node, opset, constants) or any(v is None or v.shape != (channels,) for v in values):
            return None
        scale, shift, mean, variance = (np.asarray(value, dtype=np.float64) for value in values)
        scale = scale / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
        return scale, shift - mean * scale
    if node.op_type not in ("Mul", "Div", "Add", "Sub"):
        return None
    first = node.input[0] == layer.output[0]
    value = _per_channel(constants.get(node.input[1 if first else 0]), channels, weights.ndim)
    if value is None or (node.op_type == "Div" and not (first and value.all())):
        return None
    one, none = np.ones(channels), np.zeros(channels)
    if node.op_type == "Sub":
        return (one, -value) if first else (-one, value)
    return {"Mul": (value, none), "Div": (1 / value if value.all() else one, none), "Add": (one, value)}[node.op_type]


def _fold(layer: onnx.NodeProto, channel_map: ChannelMap, constants: Constants) -> list[str] | None:
    """Scale and shift a layer's channels by its weights; the names that it read before, None where it cannot be."""
    scale, shift = channel_map
    weights = constants.get(layer.input[1])
    assert weights is not None  # noqa: S101 - or there were no channels to map
    has_bias = len(layer.input) > 2 and layer.input[2] != ""
    bias = _per_channel(constants.get(layer.input[2]), len(scale), 2) if has_bias else np.zeros(len(scale))
    if bias is None:
        return None
    # Gemm multiplies its third input by a factor of its own, which goes into it here.
    bias = bias * _attribute(layer, "beta", 1.0) * scale + shift
    shape = np.ones(weights.ndim, dtype=int)
    shape[_channel_axis(layer)] = len(scale)
    with np.errstate(over="ignore"):
        new = {
            "weight": (weights * scale.reshape(shape)).astype(weights.dtype),
            "bias": bias.astype(weights.dtype),
        }
    if not all(np.isfinite(each).all() for each in new.values()):  # in half precision a product may be too large
        return None
    before = list(layer.input[1:])
    names = [constants.add(f"{layer.output[0]}_{part}", value) for part, value in new.items()]
    del layer.input[1:]
    layer.input.extend(names)
    for index in reversed(range(len(layer.attribute))):
        if layer.attribute[index].name == "beta":
            del layer.attribute[index]
    return before


def _channel_axis(layer: onnx.NodeProto) -> int:
    """The axis of a layer's weights that counts its output channels."""
    return 0 if layer.op_type == "Conv" or _attribute(layer, "transB", 0) else 1


def _per_channel(value: npt.NDArray[Any] | None, channels: int, rank: int) -> Vector | None:
    """A constant that is broadcast to (N, C, ...) of `rank` axes, as (C,); None where it differs along other axes."""
    if value is None or value.dtype.kind != "f" or value.ndim > rank:
        return None
    full = (1,) * (rank - value.ndim) + value.shape
    if any(size not in ((1, channels) if axis == 1 else (1,)) for axis, size in enumerate(full)):
        return None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), channels)


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(helper.get_attribute_value(each)) for each in node.attribute if each.name == name), default)
