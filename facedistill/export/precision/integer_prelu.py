"""PReLU computed on 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from facedistill.export.graph.wiring import count_readers, find_writers, fresh_name
from facedistill.export.precision.prepared import read_weights
from facedistill.export.precision.ranges import Ranges


@dataclass(frozen=True)
class SplitPrelu:
    """A PReLU as Max(x, slope x): the names of x, of slope x and of the result."""

    x: str
    scaled: str
    result: str


def split_prelus(model: onnx.ModelProto) -> list[SplitPrelu]:
    """Write every PRelu whose slopes are at most 1, in place, as the larger of x and slope x.

    onnxruntime has no PRelu on integers: it would go back to float and to 8 bits again, which takes longer than the
    convolutions around it. A product and a maximum it has, and where x, slope x and the result share one scale, the
    maximum is that of the integers themselves (`join_maxima`).
    """
    weights = read_weights(model)
    nodes: list[onnx.NodeProto] = []
    found: list[SplitPrelu] = []
    for node in model.graph.node:
        slope = weights.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or not (slope <= 1).all():
            nodes.append(node)
            continue
        split = SplitPrelu(node.input[0], fresh_name(model.graph, f"{node.output[0]}_scaled"), node.output[0])
        found.append(split)
        nodes += [
            helper.make_node("Mul", [split.x, node.input[1]], [split.scaled], name=f"{node.name}_scaled"),
            helper.make_node("Max", [split.x, split.scaled], [split.result], name=node.name),
        ]
        model.graph.value_info.append(helper.make_tensor_value_info(split.scaled, onnx.TensorProto.FLOAT, None))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return found


def share_ranges(ranges: Ranges, splits: list[SplitPrelu]) -> Ranges:
    """The ranges with one and the same for the three tensors of each PReLU."""
    shared = dict(ranges)
    for split in splits:
        # slope x is no wider than what is already held, as far as it is not cut off by the maximum.
        held = [ranges[split.x], ranges[split.result]]
        shared |= dict.fromkeys(
            (split.x, split.scaled, split.result), (min(low for low, _ in held), max(high for _, high in held))
        )
    return shared


def join_maxima(model: onnx.ModelProto) -> int:
    """Take the maximum of two rounded tensors, in place, of the integers themselves; returns how many.

    Only where both and the result have the same scale and zero point, so that nothing changes.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    writers = find_writers(graph)
    readers = count_readers(graph)
    rounding = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    restoring = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    unread: set[str] = set()
    joined = 0
    for node in graph.node:
        after = rounding.get(node.output[0]) if node.op_type == "Max" else None
        before = [writers.get(name) for name in node.input]
        if after is None or readers[node.output[0]] != 1 or after.output[0] not in restoring:
            continue
        sources = [each for each in before if each is not None and each.op_type == "DequantizeLinear"]
        if len(sources) != 2 or not all(_same_scale(each, after, weights) for each in sources):
            continue
        result = node.output[0]
        node.input[:] = [each.input[0] for each in sources]
        node.output[0] = after.output[0]
        graph.node.remove(after)
        # What was read after rounding has the name of the result itself.
        restored = restoring[after.output[0]].output[0]
        for each in graph.node:
            for names in (each.input, each.output):
                for index, name in enumerate(names):
                    if name == restored:
                        names[index] = result
        unread.update(each.output[0] for each in sources)
        joined += 1
    readers = count_readers(graph)
    for node in [each for each in graph.node if each.output[0] in unread and not readers[each.output[0]]]:
        graph.node.remove(node)
    ONNXModel(model).topological_sort()
    return joined


def _same_scale(one: onnx.NodeProto, other: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    return all(
        np.array_equal(numpy_helper.to_array(weights[a]), numpy_helper.to_array(weights[b]))
        for a, b in zip(one.input[1:], other.input[1:], strict=True)
    )
