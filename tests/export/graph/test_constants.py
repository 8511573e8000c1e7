from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from facedistill.export.graph.constants import Constants

from .made_networks import network, node


def test_what_is_constant_and_what_is_not() -> None:
    nodes = [
        node("Constant", "", "a", value=numpy_helper.from_array(np.float32([1, 2]))),
        node("Neg", "a", "b"),
        node("Constant", "", "axes", value_ints=[0]),
        node("Unsqueeze", "b axes", "c"),
        node("Add", "c w", "d"),
        node("Exp", "w", "e"),
        node("Mul", "d x", "f"),
        node("Reshape", "w x", "g"),
        node("Flatten", "x", "y"),
    ]
    constants = Constants(network(nodes, {"w": np.ones((2, 2))}, given={"y": ("n", 192)}))
    assert np.array_equal(constants.get("d"), [[0, -1], [0, -1]])  # type: ignore[arg-type]
    assert constants.get("axes").dtype == np.int64  # type: ignore[union-attr]
    # Exp is not looked into; the shape of w and x do not fit, which is for others to complain about.
    assert [constants.get(name) for name in ("e", "f", "g", "x", "y", "nowhere")] == [None] * 6


def test_operators_are_read_as_in_their_operator_set() -> None:
    model = network([node("Unsqueeze", "w", "y", axes=[0])], {"w": np.ones(3)}, opset=11, given={"y": (1, 3)})
    assert Constants(model).get("y").shape == (1, 3)  # type: ignore[union-attr]


def test_what_cannot_be_computed_is_no_constant() -> None:
    model = network([node("Reshape", "w s", "y")], {"w": np.ones(3), "s": np.array([2, 2])}, given={"y": (2, 2)})
    assert Constants(model).get("y") is None


@pytest.mark.parametrize("taken", ["wish", "y", "x", "w", "a_node"])
def test_a_new_constant_gets_a_name_of_its_own(taken: str) -> None:
    model = network([node("Mul", "x w", "y", name="a_node"), node("Relu", "y", "wish")], {"w": 2.0})
    constants = Constants(model)
    first, second = constants.add(taken, np.float32([3])), constants.add(taken, np.float32([4]))
    assert (first, second) == (f"{taken}_1", f"{taken}_2")
    assert constants.get(first) == 3
    assert [tensor.name for tensor in model.graph.initializer] == ["w", first, second]
