from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facedistill.export.precision.activations import embed, read_activations
from facedistill.export.precision.equalisation import equalise

from .made_networks import depthwise_stack, made_images, made_network


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def weight(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("steep", [True, False])
def test_outputs_stay_and_slopes_get_flat(steep: bool, measured: bool) -> None:
    model = depthwise_stack(steep=steep)
    result = copied(model)
    # The sum reads the first convolution's result too, so two pairs are left.
    assert equalise(result, made_images(8) if measured else None) == 2
    onnx.checker.check_model(result)
    images = made_images(6, seed=1)
    assert np.allclose(embed(result, images), embed(model, images), rtol=0, atol=1e-5)
    for name in ("s1", "s2"):
        assert np.abs(weight(result, name)).max() <= 1
    assert np.array_equal(weight(result, "s0"), weight(model, "s0"))
    assert not np.array_equal(weight(result, "w1"), weight(model, "w1"))


def test_ranges_before_a_depthwise_convolution_become_equal() -> None:
    model = depthwise_stack()
    images = made_images(8)
    equalise(model, images)
    name = next(node.output[0] for node in model.graph.node if node.name == "expand")
    assert name == "x1_equalised"
    values = np.concatenate([each[name] for each in read_activations(model, [name], images)])
    ranges = np.abs(values).max(axis=(0, 2, 3))
    assert ranges.max() / ranges.min() < 1.001


def test_a_turned_slope_by_hand() -> None:
    # f(x) = PReLU with slope 4 of x = 1 * input, times 0.5; it has to become slope 1/4 of -x.
    one = np.ones((1, 1, 1, 1), dtype=np.float32)
    model = made_network(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["grey"], name="grey"),
            helper.make_node("Conv", ["grey", "w1"], ["x"], name="first"),
            helper.make_node("PRelu", ["x", "s"], ["y"], name="prelu"),
            helper.make_node("Conv", ["y", "w2"], ["z"], name="second"),
            helper.make_node("Flatten", ["z"], ["embedding"], name="flatten"),
        ],
        {
            "axes": np.array([1], dtype=np.int64),
            "w1": one,
            "s": np.array([4], dtype=np.float32),
            "w2": one * 0.5,
        },
    )
    result = copied(model)
    assert equalise(result) == 1
    assert weight(result, "s").tolist() == [0.25]
    # One channel alone has nothing to be equalised to.
    assert weight(result, "w1").item() == -1
    assert weight(result, "w2").item() == -2
    images = made_images(3)
    assert np.allclose(embed(result, images), embed(model, images), atol=1e-6)


def test_grouped_convolutions_and_dead_channels() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(8, 3, 3, 3)).astype(np.float32)
    first[2] = 0
    model = made_network(
        [
            helper.make_node("Conv", ["input", "w1"], ["x"], name="first"),
            helper.make_node("Relu", ["x"], ["y"], name="relu"),
            helper.make_node("Conv", ["y", "w2"], ["z"], name="second", group=2),
            helper.make_node("Flatten", ["z"], ["embedding"], name="flatten"),
        ],
        {"w1": first, "w2": generator.normal(size=(6, 4, 3, 3)).astype(np.float32)},
    )
    result = copied(model)
    images = made_images(4)
    assert equalise(result, images) == 1
    assert np.isfinite(weight(result, "w1")).all()
    assert np.isfinite(weight(result, "w2")).all()
    expected = embed(model, images)
    assert np.allclose(embed(result, images), expected, atol=1e-5 * np.abs(expected).max())


def test_what_others_read_too_is_left_alone() -> None:
    weights = {"w": np.ones((3, 3, 1, 1), dtype=np.float32)}
    node = helper.make_node
    shared = made_network(
        [
            node("Conv", ["input", "w"], ["x"], name="first"),
            node("Conv", ["x", "w"], ["z"], name="second"),
            node("Flatten", ["z"], ["embedding"], name="flatten"),
        ],
        weights,
    )
    before = copied(shared)
    assert equalise(shared) == 0
    assert shared == before
