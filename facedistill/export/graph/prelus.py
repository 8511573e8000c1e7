"""Find PReLUs that are spelled out in other operators, and write them as PRelu."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from facedistill.export.graph.constants import Constants
from facedistill.export.graph.tensor_types import TensorType, infer_types
from facedistill.export.graph.wiring import main_opset, remove_unread

# A tensor as a function of another tensor x: the first array times x where x > 0, the second times x where x < 0.
Slopes = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_FLOATS: dict[int, type[np.floating[Any]]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
# Before it, PRelu and the arithmetic operators broadcast by rules of their own.
_FIRST_OPSET = 7


def fuse_prelus(model: onnx.ModelProto) -> int:
    """Replace, in place, every spelled-out PReLU by one PRelu node; returns how many there were.

    Converters write PReLU as `Relu(x) + a (x - Abs(x))`, as `Relu(x) - a Relu(-x)`, as `a x + (1 - a) Relu(x)`, or
    with Max and Min. None of these is searched for: every tensor that comes of another by Relu, Abs, Neg, Max and Min
    with 0, products with constants and sums is a line on either side of 0, and where such a sum has slope 1 above 0,
    it is a PReLU whose slope is the one below 0. A quantiser that rounds each part by itself loses precision, and is
    the reason to do this first.

    What is left alone: slopes that the graph computes, slopes of another shape than PRelu takes, operator sets
    below 7, and anything inside branches and loops. Results stay the same but for rounding. A slope is written as
    (C, 1, 1) or (C,), or (1,) where it is one for all.
    """
    if main_opset(model) < _FIRST_OPSET:
        return 0
    constants = Constants(model)
    types = infer_types(model)
    lines: dict[str, dict[str, Slopes]] = {}
    replaced: list[str] = []
    fused = 0
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            continue
        found = _follow(node, lines, constants)
        slope = _prelu_slope(node, found, types)
        if slope is not None:
            x, value = slope
            replaced += node.input
            name = constants.add(f"{node.output[0]}_slope", value)
            node.CopyFrom(helper.make_node("PRelu", [x, name], list(node.output), name=node.name))
            fused += 1
        elif found:
            lines[node.output[0]] = found
    remove_unread(model.graph, replaced)
    return fused


def _follow(node: onnx.NodeProto, lines: dict[str, dict[str, Slopes]], constants: Constants) -> dict[str, Slopes]:
    """The slopes of a node's output in each tensor x that it is such a function of, the nearest x last."""

    def slopes_of(name: str) -> dict[str, Slopes]:
        return {**lines.get(name, {}), name: (np.ones(()), np.ones(()))}

    inputs = list(node.input)
    if node.op_type in ("Relu", "Abs", "Neg"):
        return {x: _bend(node.op_type, line) for x, line in slopes_of(inputs[0]).items()}
    if len(inputs) != 2:
        return {}
    values = [constants.get(name) for name in inputs]
    if node.op_type in ("Max", "Min"):
        # Max(x, 0) is Relu(x).
        for name, value in zip(inputs, reversed(values), strict=True):
            if value is not None and value.size == 1 and not value.any():
                bent = {x: _bend(node.op_type, line) for x, line in slopes_of(name).items()}
                # The zero is added for its shape's sake.
                return {x: (above + value, below + value) for x, (above, below) in bent.items()}
    elif node.op_type == "Mul" or (node.op_type == "Div" and values[0] is None):
        for name, value in zip(inputs, reversed(values), strict=True):
            if value is not None and value.dtype.kind == "f":
                factor = value.astype(np.float64)
                if node.op_type == "Div":
                    if not factor.all():
                        return {}
                    factor = 1 / factor
                return {x: (above * factor, below * factor) for x, (above, below) in slopes_of(name).items()}
    elif node.op_type in ("Add", "Sub") and all(value is None for value in values):
        sign = 1 if node.op_type == "Add" else -1
        first, second = (slopes_of(name) for name in inputs)
        return {x: (first[x][0] + sign * second[x][0], first[x][1] + sign * second[x][1]) for x in first if x in second}
    return {}


def _bend(operator: str, line: Slopes) -> Slopes:
    """Slopes after an operator of one tensor; below 0 a slope under 0 gives results above 0."""
    above, below = line
    if operator in ("Relu", "Max"):
        return np.maximum(above, 0), np.minimum(below, 0)
    if operator == "Min":
        return np.minimum(above, 0), np.maximum(below, 0)
    if operator == "Abs":
        return np.abs(above), -np.abs(below)
    return -above, -below


def _prelu_slope(
    node: onnx.NodeProto, found: dict[str, Slopes], types: dict[str, TensorType]
) -> tuple[str, npt.NDArray[Any]] | None:
    """The x and the slope of the PReLU that ends in `node`, if one does."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    for x, (above, below) in reversed(found.items()):
        kind = types.get(x)
        if kind is None or kind.element not in _FLOATS or kind.shape is None:
            continue
        dtype = _FLOATS[kind.element]
        if not np.allclose(above, 1, rtol=0, atol=8 * np.finfo(dtype).eps) or np.array_equal(below, above):
            continue
        if node.op_type in ("Mul", "Div") and not below.any():  # a Relu with factors that cancel
            continue
        slope = below.astype(dtype)
        while slope.ndim > 1 and slope.shape[0] == 1:
            slope = slope[0]
        slope = np.atleast_1d(slope)
        if np.isfinite(slope).all() and _broadcasts_to(below.shape, kind.shape):
            return x, slope
    return None


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int | None, ...]) -> bool:
    """Whether a constant of `shape` surely leaves the shape of a tensor as it is; None is an unknown size."""
    return len(shape) <= len(target) and all(
        size in (1, other) for size, other in zip(reversed(shape), reversed(target), strict=False)
    )
