from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from facedistill.export.graph import fuse_prelus
from facedistill.onnx_prelu import expand_prelu

from .made_networks import Array, network, node, noise, operators, run

SLOPES = np.array([-1.3, 0.0, 0.25, 1.5])
A = SLOPES.reshape(4, 1, 1)
IMAGES = ("n", 4, 3, 3)


def prelu(x: Array, slope: Array = A) -> Array:
    return np.where(x > 0, x, x * slope)


ABS = [node("Relu", "x", "r"), node("Abs", "x", "b"), node("Sub", "x b", "d")]
BOTH_SIDES = [node("Relu", "x", "r"), node("Neg", "x", "n"), node("Relu", "n", "s")]
TWO_SUMS = [node("Abs", "x", "b"), node("Mul", "x more", "c"), node("Mul", "b less", "d")]
SPELLINGS = {
    "half in the slope": ([*ABS, node("Mul", "d half_a", "e"), node("Add", "r e", "y")], {"half_a": A / 2}),
    "half apart": (
        [*ABS, node("Mul", "a d", "e"), node("Mul", "e half", "f"), node("Add", "f r", "y")],
        {"a": A, "half": 0.5},
    ),
    "divided by 2": (
        [*ABS, node("Mul", "a d", "e"), node("Div", "e two", "f"), node("Add", "f r", "y")],
        {"a": A, "two": np.array([2.0])},
    ),
    "relu of minus x, slope negated": (
        [*BOTH_SIDES, node("Mul", "s minus_a", "e"), node("Add", "r e", "y")],
        {"minus_a": -A},
    ),
    "relu of minus x, subtracted": (
        [*BOTH_SIDES, node("Mul", "a s", "e"), node("Sub", "r e", "y")],
        {"a": A},
    ),
    "relu of minus x, negated last": (
        [*BOTH_SIDES, node("Mul", "s a", "e"), node("Neg", "e", "f"), node("Add", "r f", "y")],
        {"a": A},
    ),
    "max and min": (
        [node("Max", "x zero", "r"), node("Min", "zero x", "s"), node("Mul", "s a", "e"), node("Add", "r e", "y")],
        {"a": A, "zero": 0.0},
    ),
    "half of two sums": (
        [*TWO_SUMS, node("Add", "c d", "e"), node("Mul", "e half", "y")],
        {"more": 1 + A, "less": 1 - A, "half": 0.5},
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_becomes_one_node(spelling: str) -> None:
    nodes, constants = SPELLINGS[spelling]
    model = network(nodes, constants, taken=IMAGES)
    x = noise(2, 4, 3, 3)
    assert fuse_prelus(model) == 1
    assert operators(model) == {"PRelu": 1}
    (slope,) = model.graph.initializer
    np.testing.assert_allclose(numpy_helper.to_array(slope), A, atol=1e-7)
    np.testing.assert_allclose(run(model, x)[0], prelu(x), atol=1e-6)
    assert fuse_prelus(model) == 0


def test_what_expand_prelu_has_spelled_out() -> None:
    nodes = [node("PRelu", "x a", "m"), node("Neg", "m", "n"), node("PRelu", "n half", "y")]
    model = network(nodes, {"a": A, "half": np.array([0.5])}, taken=IMAGES)
    expand_prelu(model)
    x = noise(2, 4, 3, 3)
    assert fuse_prelus(model) == 2
    assert operators(model) == {"PRelu": 2, "Neg": 1}
    np.testing.assert_allclose(run(model, x)[0], prelu(-prelu(x), np.array(0.5)), atol=1e-6)


@pytest.mark.parametrize(
    ("slope", "shape", "written"),
    [
        (A[None], (2, 4, 3, 3), (4, 1, 1)),
        (np.array(0.25), (2, 4, 3, 3), (1,)),
        (np.array([0.25]), (2, 4, 3, 3), (1,)),
        (np.full((1, 1, 1, 1), 0.25), (2, 4, 3, 3), (1,)),
        (SLOPES, (2, 3, 3, 4), (4,)),
        (SLOPES.reshape(1, 1, 1, 4), (2, 3, 3, 4), (4,)),
        (SLOPES, (2, 4), (4,)),
    ],
)
def test_slopes_of_every_shape_and_layout(slope: Array, shape: tuple[int, ...], written: tuple[int, ...]) -> None:
    nodes, _ = SPELLINGS["half in the slope"]
    model = network(nodes, {"half_a": slope / 2}, taken=("n", *shape[1:]))
    x = noise(*shape)
    before = run(model, x)[0]
    assert fuse_prelus(model) == 1
    assert tuple(model.graph.initializer[0].dims) == written
    np.testing.assert_allclose(run(model, x)[0], before, atol=1e-6)
    np.testing.assert_allclose(before, prelu(x, slope), atol=1e-6)


@pytest.mark.parametrize(
    "before",
    [
        [node("Constant", "", "half_a", value=numpy_helper.from_array((A / 2).astype(np.float32)))],
        [
            node("Constant", "", "flat", value_floats=[float(value) for value in SLOPES / 2]),
            node("Constant", "", "axes", value_ints=[1, 2]),
            node("Unsqueeze", "flat axes", "half_a"),
        ],
    ],
)
def test_slopes_of_constant_nodes(before: list[onnx.NodeProto]) -> None:
    nodes, _ = SPELLINGS["half in the slope"]
    model = network([*before, *nodes], {}, taken=IMAGES)
    x = noise(2, 4, 3, 3)
    assert fuse_prelus(model) == 1
    assert operators(model) == {"PRelu": 1}
    np.testing.assert_allclose(run(model, x)[0], prelu(x), atol=1e-6)


def test_parts_that_others_read_stay() -> None:
    nodes, constants = SPELLINGS["half in the slope"]
    nodes = [*nodes, node("Sigmoid", "r", "z")]
    given = {"y": IMAGES, "z": IMAGES, "d": IMAGES}
    model = network(nodes, {**constants, "unread": np.ones(3)}, taken=IMAGES, given=given)
    x = noise(2, 4, 3, 3)
    before = run(model, x)
    assert fuse_prelus(model) == 1
    assert operators(model) == {"PRelu": 1, "Sigmoid": 1, "Relu": 1, "Abs": 1, "Sub": 1}
    # What nobody read before is nothing to do with it.
    assert {tensor.name for tensor in model.graph.initializer} == {"y_slope", "unread"}
    for first, second in zip(before, run(model, x), strict=True):
        np.testing.assert_allclose(second, first, atol=1e-6)


def test_a_slope_that_two_share_and_one_needs_no_more() -> None:
    first, constants = SPELLINGS["half in the slope"]
    second = [node("Relu", "y", "r2"), node("Abs", "y", "b2"), node("Sub", "y b2", "d2")]
    second += [node("Mul", "d2 half_a", "e2"), node("Add", "r2 e2", "f2"), node("Mul", "f2 half_a", "z")]
    model = network([*first, *second], constants, taken=IMAGES, given={"z": IMAGES})
    x = noise(2, 4, 3, 3)
    before = run(model, x)[0]
    assert fuse_prelus(model) == 2
    assert operators(model) == {"PRelu": 2, "Mul": 1}
    np.testing.assert_allclose(run(model, x)[0], before, atol=1e-6)


def test_half_precision() -> None:
    nodes, constants = SPELLINGS["half of two sums"]
    model = network(nodes, constants, taken=IMAGES, element=TensorProto.FLOAT16)
    x = noise(2, 4, 3, 3, dtype=np.float16)
    assert fuse_prelus(model) == 1
    np.testing.assert_allclose(run(model, x)[0], prelu(x), atol=5e-3)


@pytest.mark.parametrize(
    ("nodes", "constants", "options"),
    [
        pytest.param([node("Relu", "x", "y")], {}, {}, id="relu"),
        pytest.param([node("Relu", "x", "r"), node("Add", "r x", "y")], {}, {}, id="residual"),
        pytest.param(
            [node("Mul", "x two", "d"), node("Relu", "d", "r"), node("Mul", "r half", "y")],
            {"two": 2.0, "half": 0.5},
            {},
            id="factors that cancel",
        ),
        pytest.param(
            [*ABS, node("Sigmoid", "x", "a"), node("Mul", "d a", "e"), node("Add", "r e", "y")], {}, {}, id="computed"
        ),
        pytest.param(
            SPELLINGS["half in the slope"][0], {"half_a": np.ones((2, 1, 4, 1, 1)) / 3}, {}, id="slope of more axes"
        ),
        pytest.param(
            SPELLINGS["half in the slope"][0],
            {"half_a": A / 2},
            {"taken": ("n", 1, 3, 3)},
            id="slope that makes channels",
        ),
        pytest.param(
            SPELLINGS["half in the slope"][0],
            {"half_a": A / 2},
            {"taken": ("n", "c", 3, 3)},
            id="unknown number of channels",
        ),
        pytest.param([*ABS, node("Add", "r b", "y")], {}, {}, id="another slope above 0"),
    ],
)
def test_what_is_no_prelu_stays(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], options: dict[str, object]
) -> None:
    model = network(nodes, constants, **{"taken": IMAGES, **options})  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert fuse_prelus(model) == 0
    assert model.SerializeToString() == before


def test_old_operator_sets_are_left_alone() -> None:
    model = network([*ABS, node("Add", "r d", "y")], {}, taken=IMAGES, opset=6)
    assert fuse_prelus(model) == 0


@st.composite
def programs(draw: st.DrawFn) -> onnx.ModelProto:
    """Networks of the operators that PReLUs are spelled in, put together at random, with a second output somewhere."""
    constants = {"a": A, "minus_a": -A, "half": np.float64(0.5), "one": np.float64(1), "zero": np.float64(0)}
    names, nodes = ["x"], []
    for index in range(draw(st.integers(1, 9))):
        operator = draw(st.sampled_from(["Relu", "Abs", "Neg", "Mul", "Add", "Sub", "Add", "Max", "Min"]))
        inputs = [draw(st.sampled_from(names))]
        if operator in ("Add", "Sub"):
            inputs.append(draw(st.sampled_from(names)))
        elif operator == "Mul":
            inputs.append(draw(st.sampled_from(["a", "minus_a", "half", "one"])))
        elif operator in ("Max", "Min"):
            inputs.append("zero")
        names.append(f"t{index}")
        nodes.append(node(operator, " ".join(inputs), names[-1]))
    outputs = {names[-1]: IMAGES, draw(st.sampled_from(names[1:])): IMAGES}
    return network(nodes, constants, taken=IMAGES, given=outputs)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_no_program_changes_its_results(model: onnx.ModelProto) -> None:
    x = noise(2, 4, 3, 3)
    before = run(model, x)
    fuse_prelus(model)
    for first, second in zip(before, run(model, x), strict=True):
        np.testing.assert_allclose(second, first, atol=1e-4, rtol=1e-4)
