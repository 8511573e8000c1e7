from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedistill.errors import GateError
from facedistill.export.graph import check_graph

from .made_networks import embedding_network, network, node

STATE = {"one": np.ones(4), "zero": np.zeros(4), "true": np.array(True), "false": np.array(False), "half": 0.5}
NORM = "c one zero zero one"


def test_a_sound_graph_passes() -> None:
    middle = [node("BatchNormalization", NORM, "d"), node("Dropout", "d half false", "m")]
    check_graph(embedding_network(middle=middle, constants=STATE))
    check_graph(embedding_network(middle=[node("Dropout", "c", "m")]))


@pytest.mark.parametrize(
    ("planted", "message", "opset"),
    [
        (node("BatchNormalization", NORM, "m a b", training_mode=1, name="bn7"), "BatchNormalization bn7", 17),
        (node("BatchNormalization", NORM, "m a b", training_mode=1), "BatchNormalization m", 17),
        (node("BatchNormalization", NORM, "m a b sa sb", name="bn7"), "BatchNormalization bn7", 9),
        (node("Dropout", "c half true", "m", name="drop"), "Dropout drop", 17),
    ],
)
def test_training_mode_is_named(planted: onnx.NodeProto, message: str, opset: int) -> None:
    model = embedding_network(middle=[planted], constants=STATE, opset=opset)
    with pytest.raises(GateError, match=f"the {message} is in training mode"):
        check_graph(model)


def test_a_dropout_whose_mode_is_computed() -> None:
    middle = [node("ReduceMax", "c", "top", keepdims=0), node("Greater", "top half", "mode")]
    middle.append(node("Dropout", "c half mode", "m"))
    with pytest.raises(GateError, match="the Dropout m is in training mode"):
        check_graph(embedding_network(middle=middle, constants=STATE))


def test_training_mode_inside_a_branch() -> None:
    def branch(inner: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)])

    choice = node(
        "If",
        "false",
        "m",
        then_branch=branch(node("Relu", "c", "o")),
        else_branch=branch(node("BatchNormalization", NORM, "o a b", training_mode=1, name="inner")),
    )
    with pytest.raises(GateError, match="the BatchNormalization inner is in training mode"):
        check_graph(embedding_network(middle=[choice], constants=STATE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 1}, "the batch axis of the network's input is fixed at 1"),
        ({"given": (1, 5)}, "the batch axis of the network's output is fixed at 1|no valid ONNX"),
    ],
)
def test_a_fixed_batch(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GateError, match=message):
        check_graph(embedding_network(**options))


@pytest.mark.parametrize(("shape", "batch"), [([1, 4], 2), ([1, -1], 2), ([2, 4], 1)])
def test_a_repainted_batch_is_found_by_running(shape: list[int], batch: int) -> None:
    flatten = node("Reshape", "pooled shape", "flat", name="the_culprit")
    model = embedding_network(flatten=flatten, constants={"shape": np.array(shape)}, given=("n", 5))
    with pytest.raises(GateError, match=f"does not run at batch {batch}, perhaps for the Reshape the_culprit"):
        check_graph(model)


def test_an_invalid_graph() -> None:
    model = embedding_network(middle=[node("Relu", "c", "m", surprise=1)])
    with pytest.raises(GateError, match="the graph is no valid ONNX"):
        check_graph(model)


def test_no_embedding_network() -> None:
    with pytest.raises(GateError, match="does not run at batch 1"):
        check_graph(network([node("Relu", "x", "y")], {}))
    with pytest.raises(GateError, match="has no axis of 3 colours"):
        check_graph(network([node("Relu", "x", "y")], {}, taken=("n", 1, 8, 8)))
