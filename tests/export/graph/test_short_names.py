from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from facedistill.export.graph.short_names import shorten_names


def network(*, names: tuple[str, str] = ("input", "embedding")) -> onnx.ModelProto:
    """Embeds a vector as its sum with weights, by forty nodes of long names."""
    given, result = names
    values = [given, *(f"a/very/long/name/of/a/value/{number}" for number in range(39)), result]
    nodes = [
        helper.make_node("Add", [before, f"a/long/name/of/a/weight/{number}"], [after], name=f"layer {number}")
        for number, (before, after) in enumerate(itertools.pairwise(values))
    ]
    weights = [
        numpy_helper.from_array(np.float32([number, 1]), f"a/long/name/of/a/weight/{number}") for number in range(40)
    ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", 2])],
        weights,
        value_info=[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in values[1:-1]],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return np.asarray(session.run(None, {taken.name: np.float32([[1, 2], [3, 4]])})[0])


def test_the_same_by_fewer_bytes() -> None:
    model = network()
    expected, before = run(model), model.ByteSize()
    shorten_names(model)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(run(model), expected)
    assert expected.tolist() == [[781, 42], [783, 44]]
    assert model.ByteSize() < before / 2
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["input", "embedding"]
    assert [node.name for node in model.graph.node] == [f"layer {number}" for number in range(40)]
    values = {value.name for value in model.graph.value_info}
    assert values == {node.output[0] for node in model.graph.node[:-1]}


def test_a_short_name_that_is_taken() -> None:
    model = network(names=("5", "z"))
    expected = run(model)
    shorten_names(model)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(run(model), expected)
    assert model.graph.input[0].name == "5"


def test_a_graph_with_graphs_inside_stays() -> None:
    model = network()
    inside = helper.make_graph([], "inside", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", inside))
    before = model.SerializeToString()
    shorten_names(model)
    assert model.SerializeToString() == before
