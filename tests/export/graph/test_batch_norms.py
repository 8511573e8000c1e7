from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from facedistill.export.graph import fold_batch_norms

from .made_networks import Array, network, node, noise, operators, run

GENERATOR = np.random.default_rng(5)
W = GENERATOR.normal(size=(4, 3, 3, 3))
NORM = {
    "scale": np.array([1.5, -0.5, 0.0, 2.0]),
    "shift": np.array([0.1, 0.2, -0.3, 0.4]),
    "mean": np.array([1.0, -1.0, 0.5, 0.0]),
    "var": np.array([0.5, 1.0, 2.0, 0.1]),
}
BN = node("BatchNormalization", "c scale shift mean var", "y", epsilon=1e-3)
PER_CHANNEL = NORM["scale"].reshape(4, 1, 1)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_torch_is_the_oracle_of_convolutions(groups: int, bias: bool) -> None:
    layers = nn.Sequential(nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=groups, bias=bias), nn.BatchNorm2d(4)).eval()
    convolution, norm = layers
    with torch.no_grad():
        state = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for tensor, value in zip(state, NORM.values(), strict=True):
            tensor.copy_(torch.from_numpy(value))
    constants = {name: tensor.detach().numpy() for name, tensor in convolution.named_parameters()}
    nodes = [
        node("Conv", "x weight bias" if bias else "x weight", "c", group=groups, strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c scale shift mean var", "y", epsilon=1e-5),
    ]
    model = network(nodes, {**constants, **NORM}, taken=("n", 8, 6, 6))
    assert fold_batch_norms(model) == 1
    assert operators(model) == {"Conv": 1}
    assert len(model.graph.initializer) == 2
    x = noise(3, 8, 6, 6)
    with torch.inference_mode():
        expected = layers(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run(model, x)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("gemm", "constants"),
    [
        (node("Gemm", "x b", "c"), {"b": (6, 4)}),
        (node("Gemm", "x b", "c", transB=1), {"b": (4, 6)}),
        (node("Gemm", "x b bias", "c", alpha=0.5, beta=3.0), {"b": (6, 4), "bias": (4,)}),
        (node("Gemm", "x b bias", "c", beta=2.0, transB=1), {"b": (4, 6), "bias": (1, 4)}),
        (node("Gemm", "x b bias", "c", beta=0.0), {"b": (6, 4), "bias": ()}),
    ],
)
def test_every_form_of_gemm(gemm: onnx.NodeProto, constants: dict[str, tuple[int, ...]]) -> None:
    made = {name: GENERATOR.normal(size=shape) for name, shape in constants.items()}
    model = network([gemm, BN], {**made, **NORM}, taken=("n", 6))
    x = noise(3, 6)
    before = run(model, x)[0]
    assert fold_batch_norms(model) == 1
    assert operators(model) == {"Gemm": 1}
    np.testing.assert_allclose(run(model, x)[0], before, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants", "folded"),
    [
        ([node("Mul", "c s", "m"), node("Add", "m t", "y")], {"s": PER_CHANNEL, "t": PER_CHANNEL[None] + 1}, 2),
        ([node("Mul", "s c", "m"), node("Add", "t m", "y")], {"s": 0.3, "t": np.array([2.0])}, 2),
        ([node("Sub", "c t", "m"), node("Div", "m s", "y")], {"s": PER_CHANNEL + 3, "t": PER_CHANNEL}, 2),
        ([node("Sub", "t c", "y")], {"t": PER_CHANNEL}, 1),
        ([node("Mul", "c s", "m"), node("BatchNormalization", "m scale shift mean var", "y")], {"s": 3.0, **NORM}, 2),
        # Neither of these is a map of each channel.
        ([node("Mul", "c s", "y")], {"s": np.arange(64.0).reshape(8, 8)}, 0),
        ([node("Mul", "c s", "y")], {"s": np.ones((2, 1, 4, 1, 1))}, 0),
        ([node("Div", "c s", "y")], {"s": PER_CHANNEL}, 0),  # by 0
        ([node("Div", "s c", "y")], {"s": PER_CHANNEL + 3}, 0),
        ([node("Mul", "c c", "y")], {}, 0),
        ([node("Relu", "c", "m"), node("Mul", "m s", "y")], {"s": 0.3}, 0),
    ],
)
def test_products_and_sums(nodes: list[onnx.NodeProto], constants: dict[str, Array], folded: int) -> None:
    model = network([node("Conv", "x w", "c", pads=[1, 1, 1, 1]), *nodes], {"w": W, **constants})
    x = noise(2, 3, 8, 8)
    before, nodes_before = run(model, x)[0], len(model.graph.node)
    assert fold_batch_norms(model) == folded
    assert len(model.graph.node) == nodes_before - folded
    np.testing.assert_allclose(run(model, x)[0], before, atol=2e-5, rtol=1e-5)


def test_shared_weights_are_folded_for_one_layer_only() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        BN,
        node("Conv", "x w", "z"),
    ]
    model = network(nodes, {"w": W, **NORM}, given={"y": ("n", 4, 6, 6), "z": ("n", 4, 6, 6)})
    x = noise(2, 3, 8, 8)
    before = run(model, x)
    assert fold_batch_norms(model) == 1
    for first, second in zip(before, run(model, x), strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)


def test_weights_of_constant_nodes() -> None:
    weights = node("Constant", "", "w", value=onnx.numpy_helper.from_array(W.astype(np.float32)))
    model = network([weights, node("Conv", "x w", "c"), BN], NORM)
    x = noise(2, 3, 8, 8)
    before = run(model, x)[0]
    assert fold_batch_norms(model) == 1
    assert operators(model) == {"Conv": 1}
    np.testing.assert_allclose(run(model, x)[0], before, atol=1e-5)


CONV = node("Conv", "x w", "c", pads=[1, 1, 1, 1])
SAME = ("n", 4, 8, 8)


@pytest.mark.parametrize(
    ("nodes", "given"),
    [
        pytest.param([CONV, BN], {"y": SAME, "c": SAME}, id="the layer's result is an output"),
        pytest.param([CONV, BN, node("Relu", "c", "z")], {"y": SAME, "z": SAME}, id="others read the layer's result"),
        pytest.param(
            [node("BatchNormalization", "x s3 s3 s3 s3", "b"), node("Conv", "b w", "y", pads=[1, 1, 1, 1])],
            {"y": SAME},
            id="in front of the layer",
        ),
        pytest.param([node("Sigmoid", "w", "v"), node("Conv", "x v", "c"), BN], {"y": None}, id="computed weights"),
    ],
)
def test_what_cannot_be_folded_stays(nodes: list[onnx.NodeProto], given: dict[str, object]) -> None:
    model = network(nodes, {"w": W, "s3": np.array([1.0, 2.0, 3.0]), **NORM}, given=given)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert fold_batch_norms(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("opset", "norm"),
    [
        (17, node("BatchNormalization", "c scale shift mean var", "y m v", training_mode=1)),
        (9, node("BatchNormalization", "c scale shift mean var", "y m v sm sv")),
    ],
)
def test_training_mode_stays_to_be_seen(opset: int, norm: onnx.NodeProto) -> None:
    model = network([CONV, norm], {"w": W, **NORM}, opset=opset)
    assert fold_batch_norms(model) == 0


def test_half_precision_stays_where_a_product_is_too_large() -> None:
    constants = {"w": W, **NORM, "var": np.full(4, 1e-4)}
    model = network([CONV, BN], constants, element=TensorProto.FLOAT16)
    x = noise(2, 3, 8, 8, dtype=np.float16)
    before = run(model, x)[0]
    assert fold_batch_norms(model) == 1
    np.testing.assert_allclose(run(model, x)[0], before, atol=0.5, rtol=1e-2)
    model = network([CONV, BN], {**constants, "scale": np.full(4, 6e4)}, element=TensorProto.FLOAT16)
    assert fold_batch_norms(model) == 0
