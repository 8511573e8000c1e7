from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.onnx_prelu import expand_prelu
from facedistill.onnx_session import open_session


def network(*, constant: bool = True) -> onnx.ModelProto:
    """Two PRelus one after the other, the first with a slope a channel (some negative, one above 1)."""
    slopes = np.array([-1.3, 0.0, 0.25, 1.5], np.float32).reshape(4, 1, 1)
    nodes = [
        helper.make_node("PRelu", ["x", "slopes"], ["middle"]),
        helper.make_node("Neg", ["middle"], ["turned"]),
        helper.make_node("PRelu", ["turned", "half"], ["y"]),
    ]
    if not constant:
        nodes.insert(0, helper.make_node("Identity", ["given"], ["slopes"]))
    shape = ["n", 4, 3, 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(slopes, "slopes" if constant else "given"),
            numpy_helper.from_array(np.float32([0.5]), "half"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = open_session(Path("net"), device="cpu", threads=1, model=model.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


def test_the_results_stay() -> None:
    x = np.random.default_rng(0).normal(size=(5, 4, 3, 3)).astype(np.float32)
    expanded = network()
    expand_prelu(expanded)
    onnx.checker.check_model(expanded)
    assert "PRelu" not in {node.op_type for node in expanded.graph.node}
    np.testing.assert_allclose(run(expanded, x), run(network(), x), atol=1e-6)
    first = np.where(x > 0, x, x * np.array([-1.3, 0.0, 0.25, 1.5]).reshape(4, 1, 1))
    np.testing.assert_allclose(run(expanded, x), np.where(first < 0, -first, -first / 2), atol=1e-6)


def test_a_slope_that_the_graph_computes() -> None:
    with pytest.raises(ValueError, match="is no constant"):
        expand_prelu(network(constant=False))
