"""Give the channels between two convolutions like ranges, so that one scale of 8 bits suits them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from facedistill.export.graph.wiring import count_readers, fresh_name, rename_reads
from facedistill.export.precision.activations import read_activations

Array = npt.NDArray[np.float32]

# A channel is not scaled by more than this, so that dead ones stay harmless.
LARGEST_FACTOR = 1000.0


@dataclass(frozen=True)
class _Pair:
    """Two convolutions, of which the second alone reads the first, with at most a Relu or PRelu between them."""

    first: onnx.NodeProto
    activation: onnx.NodeProto | None
    second: onnx.NodeProto


def equalise(model: onnx.ModelProto, images: npt.NDArray[Any] | None = None) -> int:
    """Scale the channels between convolutions, in place, and undo it in the next convolution; the outputs stay.

    The tensors in between, which are not what they were, get other names.

    A tensor of activations has one scale in 8 bits, so a channel that is small beside the others is left with few
    levels, which is what ruins depthwise stacks. ReLU and PReLU let a positive factor through: what a convolution
    gives may be scaled channel by channel if the next one takes the factors back (cross-layer equalisation, Nagel et
    al. 2019, arXiv 1906.04721). Where a depthwise convolution follows, whose weights have a scale for every channel,
    the factors make all ranges alike and cost nothing; where another one follows, they go half of the way, as the
    weights of a channel there share a scale (the square root is that paper's).

    A PReLU with slopes beyond -1 to 1 would enlarge the rounding errors of what it takes. There the sign is turned
    first: with f(x) = x above 0 and s x below, f(x) is -s times the same function with slope 1 / s of -x.

    Args:
        model: a float network; batch norms have to be folded into the convolutions already, and PReLUs written as
            PRelu. What this cannot go across stays as it is.
        images: (N, ...) network inputs to measure the ranges of channels on; None judges by the weights alone.

    Returns:
        How many pairs of convolutions were equalised.

    Raises:
        ModelFileError: onnxruntime cannot run the network on `images`.
    """
    weights = _Weights(model)
    pairs = list(_find_pairs(model, weights))
    for pair in pairs:
        _flatten_slopes(pair, weights)
    measured = {} if images is None or not pairs else _measure(model, [pair.first.output[0] for pair in pairs], images)
    for pair in pairs:
        ranges = measured.get(pair.first.output[0])
        if ranges is None:
            ranges = _largest(weights[pair.first.input[1]], 0)
        grouped = _by_input(weights[pair.second.input[1]], _groups(pair.second), len(ranges))
        readers = np.abs(grouped).max(axis=(1, *range(3, grouped.ndim))).ravel()
        ranges = np.maximum(ranges, max(float(ranges.max()), 1e-12) / LARGEST_FACTOR)
        readers = np.maximum(readers, max(float(readers.max()), 1e-12) / LARGEST_FACTOR)
        factors = 1 / ranges if grouped.shape[2] == 1 else np.sqrt(readers / ranges)
        factors = factors / np.exp(np.log(factors).mean())
        _scale_outputs(pair.first, factors.astype(np.float32), weights)
        _scale_inputs(pair.second, (1 / factors).astype(np.float32), weights)
    for pair in pairs:
        for node in (pair.first, pair.activation):
            if node is not None:
                _rename(model.graph, node, fresh_name(model.graph, f"{node.output[0]}_equalised"))
    return len(pairs)


class _Weights:
    """The initializers of a network by name, to read and to replace."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        readers = count_readers(model.graph)
        self._own = {name for name in self._tensors if readers[name] == 1}

    def __getitem__(self, name: str) -> Array:
        return np.asarray(numpy_helper.to_array(self._tensors[name]), dtype=np.float32)

    def __setitem__(self, name: str, value: npt.NDArray[Any]) -> None:
        self._tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))

    def may_change(self, name: str) -> bool:
        """Whether it is a float32 constant that one node alone reads."""
        return name in self._own and self._tensors[name].data_type == onnx.TensorProto.FLOAT


def _find_pairs(model: onnx.ModelProto, weights: _Weights) -> Iterator[_Pair]:
    readers = count_readers(model.graph)
    # Of a tensor with one reader, that reader.
    reader = {name: node for node in model.graph.node for name in node.input if readers[name] == 1}
    names = Counter(name for node in model.graph.node for name in node.output)
    for first in model.graph.node:
        if first.op_type != "Conv" or not all(map(weights.may_change, first.input[1:])) or names[first.output[0]] > 1:
            continue
        activation, second = None, reader.get(first.output[0])
        if second is not None and second.op_type in ("Relu", "PRelu") and second.input[0] == first.output[0]:
            activation, second = second, reader.get(second.output[0])
            if activation.op_type == "PRelu" and not _has_channel_slopes(activation, weights):
                continue
        carried = (first if activation is None else activation).output[0]
        if second is None or second.op_type != "Conv" or second.input[0] != carried:
            continue
        if weights.may_change(second.input[1]):
            yield _Pair(first, activation, second)


def _has_channel_slopes(prelu: onnx.NodeProto, weights: _Weights) -> bool:
    """Whether the slopes are one a channel, or one for all."""
    if not weights.may_change(prelu.input[1]):
        return False
    shape = weights[prelu.input[1]].shape
    # The channels are the third axis from behind.
    return all(size == 1 for axis, size in enumerate(reversed(shape)) if axis != 2)


def _flatten_slopes(pair: _Pair, weights: _Weights) -> None:
    """Bring the slopes of a PReLU to -1 to 1 by turning the sign of the channels where they are not."""
    if pair.activation is None or pair.activation.op_type != "PRelu":
        return
    name = pair.activation.input[1]
    slopes = weights[name]
    steep = np.abs(slopes) > 1
    channels = weights[pair.first.input[1]].shape[0]
    signs = np.broadcast_to(np.where(steep, -1, 1).ravel(), (channels,))
    factors = np.broadcast_to(np.where(steep, -slopes, 1).ravel(), (channels,))
    weights[name] = np.where(steep, 1 / np.where(steep, slopes, 1), slopes)
    _scale_outputs(pair.first, signs, weights)
    _scale_inputs(pair.second, factors, weights)


def _rename(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> None:
    for value in graph.value_info:
        if value.name == node.output[0]:
            value.name = name
    rename_reads(graph, node.output[0], name)
    node.output[0] = name


def _measure(model: onnx.ModelProto, names: list[str], images: npt.NDArray[Any]) -> dict[str, Array]:
    """The largest absolute value of each channel of (N, C, ...) tensors."""
    largest: dict[str, Array] = {}
    for values in read_activations(model, names, images):
        for name, value in values.items():
            found = _largest(value, 1)
            largest[name] = np.maximum(largest.get(name, found), found)
    return largest


def _largest(values: npt.NDArray[Any], axis: int) -> Array:
    others = tuple(each for each in range(values.ndim) if each != axis)
    return np.asarray(np.abs(values).max(axis=others), dtype=np.float32)


def _groups(convolution: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)


def _by_input(weight: Array, groups: int, channels: int) -> Array:
    """(outputs, inputs of a group, ...) -> (groups, outputs of a group, inputs of a group, ...)."""
    return weight.reshape(groups, weight.shape[0] // groups, channels // groups, *weight.shape[2:])


def _scale_outputs(convolution: onnx.NodeProto, factors: Array, weights: _Weights) -> None:
    name, *bias = convolution.input[1:]
    weight = weights[name]
    weights[name] = weight * factors.reshape(-1, *[1] * (weight.ndim - 1))
    if bias:
        weights[bias[0]] = weights[bias[0]] * factors


def _scale_inputs(convolution: onnx.NodeProto, factors: Array, weights: _Weights) -> None:
    name = convolution.input[1]
    weight = weights[name]
    grouped = _by_input(weight, _groups(convolution), len(factors))
    shaped = factors.reshape(grouped.shape[0], 1, grouped.shape[2], *[1] * (weight.ndim - 2))
    weights[name] = (grouped * shaped).reshape(weight.shape)
