"""Write PRelu as operators that onnxruntime runs fast on the CPU."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper


def expand_prelu(model: onnx.ModelProto) -> None:
    """Replace, in place, every PRelu(x, s) of the graph by s * x + (1 - s) * Relu(x).

    The results are the same but for rounding. onnxruntime's own PRelu leaves the blocked memory layout that its
    convolutions work in, and takes half of the time of each MTCNN network.

    Raises:
        ValueError: a slope is computed by the graph instead of being a constant.
    """
    graph = model.graph
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for index, node in enumerate(graph.node):
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        x, slope = node.input
        if slope not in slopes:
            raise ValueError(f"the slope {slope} of {node.name} is no constant")
        rest, below, positive, above = (
            f"expanded_prelu_{index}_{part}" for part in ("rest", "below", "positive", "above")
        )
        graph.initializer.append(numpy_helper.from_array(1 - slopes[slope], rest))
        nodes += [
            helper.make_node("Mul", [x, slope], [below]),
            helper.make_node("Relu", [x], [positive]),
            helper.make_node("Mul", [positive, rest], [above]),
            helper.make_node("Add", [below, above], list(node.output)),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
