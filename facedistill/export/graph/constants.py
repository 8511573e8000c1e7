"""Which tensors of an ONNX graph are constants, and what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from facedistill.export.graph.wiring import find_writers, fresh_name

Array = npt.NDArray[Any]

# What exporters put between a constant and the node that reads it.
_ON_CONSTANTS = frozenset(
    ["Add", "Cast", "Concat", "Constant", "Div", "Gather", "Identity", "Mul", "Neg", "Reshape", "Slice", "Sqrt"]
) | {"Squeeze", "Sub", "Transpose", "Unsqueeze"}


class Constants:
    """The constants of a graph: initializers, Constant nodes, and simple operators on constants.

    Args:
        model: the network; constants added to it elsewhere after this are not seen.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._opsets = list(model.opset_import)
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._writers = find_writers(model.graph)
        self._known: dict[str, Array | None] = {}

    def get(self, name: str) -> Array | None:
        """What a tensor always holds; None where it depends on the images, or on what isn't looked into."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def add(self, wish: str, value: Array) -> str:
        """Append an initializer to the graph, called `wish` or nearly so; gives its name."""
        name = fresh_name(self._graph, wish)
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self._known[name] = value
        return name

    def _find(self, name: str) -> Array | None:
        if name in self._initializers:
            return np.asarray(numpy_helper.to_array(self._initializers[name]))
        node = self._writers.get(name)
        if node is None or node.domain or node.op_type not in _ON_CONSTANTS:
            return None
        inputs = {each: self.get(each) for each in node.input if each}
        if any(value is None for value in inputs.values()):
            return None
        # A model of this one node: how an operator is read depends on the operator set.
        alone = helper.make_model(
            helper.make_graph(
                [node],
                "constant",
                [helper.make_empty_tensor_value_info(each) for each in inputs],
                [helper.make_empty_tensor_value_info(name)],
            ),
            opset_imports=self._opsets,
        )
        try:
            results: Any = ReferenceEvaluator(alone).run([name], inputs)
        except Exception:  # what onnx cannot compute is left alone
            return None
        return np.asarray(results[0])
