from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.export.precision.activations import cosines, embed
from facedistill.export.precision.half import to_half

from .made_networks import depthwise_stack, made_images, made_network


def test_weights_are_halved_and_ends_stay_float() -> None:
    model = depthwise_stack()
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    ends = (half.graph.input[0], half.graph.output[0])
    assert [(end.name, end.type.tensor_type.elem_type) for end in ends] == [
        ("input", TensorProto.FLOAT),
        ("embedding", TensorProto.FLOAT),
    ]
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert {kinds[name] for name in kinds if name[0] in "wbs"} == {TensorProto.FLOAT16}
    assert {entry.key: entry.value for entry in half.metadata_props} == {"made_by": "hand"}
    for batch in (1, 5):
        images = made_images(batch, seed=batch)
        assert cosines(embed(model, images), embed(half, images)).min() >= 0.9999


def normalised_network(scale: float) -> onnx.ModelProto:
    """Embeddings of about `scale` times 10, scaled to length 1 by operators spelled out."""
    generator = np.random.default_rng(0)
    node = helper.make_node
    return made_network(
        [
            node("Flatten", ["input"], ["flat"], name="flatten"),
            node("MatMul", ["flat", "w"], ["x"], name="layer"),
            node("Mul", ["x", "scale"], ["large"], name="scaled"),
            node("Mul", ["large", "large"], ["squares"], name="squares"),
            node("ReduceSum", ["squares", "axes"], ["sum"], name="sum"),
            node("Add", ["sum", "epsilon"], ["safe"], name="safe"),
            node("Sqrt", ["safe"], ["length"], name="root"),
            node("Div", ["large", "length"], ["embedding"], name="unit"),
        ],
        {
            "w": generator.normal(size=(768, 32)).astype(np.float32),
            "scale": np.float32(scale),
            "axes": np.array([1], dtype=np.int64),
            "epsilon": np.float32(1e-12),
        },
    )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_spelled_out_norms_neither_overflow_nor_vanish(scale: float) -> None:
    model = normalised_network(scale)
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    images = made_images(4)
    assert cosines(embed(model, images), embed(half, images)).min() >= 0.9999
    # All pixels alike: nothing is divided by zero.
    assert np.isfinite(embed(half, np.zeros((3, 3, 16, 16), dtype=np.float32))).all()


def test_a_tensor_that_two_float_nodes_read() -> None:
    node = helper.make_node
    model = made_network(
        [
            node("Flatten", ["input"], ["flat"], name="flatten"),
            node("MatMul", ["flat", "w"], ["x"], name="layer"),
            node("Softmax", ["x"], ["soft"], name="soft"),
            node("Exp", ["x"], ["exp"], name="exp"),
            node("Add", ["soft", "exp"], ["embedding"], name="sum"),
        ],
        {"w": np.random.default_rng(0).normal(0, 0.02, size=(768, 8)).astype(np.float32)},
    )
    images = made_images(4)
    assert cosines(embed(model, images), embed(to_half(model), images)).min() >= 0.9999


def test_a_batch_norm_without_variance_is_safe() -> None:
    node = helper.make_node
    model = made_network(
        [
            node("BatchNormalization", ["input", "scale", "shift", "mean", "var"], ["x"], name="norm", epsilon=1e-10),
            node("Conv", ["x", "w"], ["y"], name="layer", strides=[4, 4]),
            node("Flatten", ["y"], ["embedding"], name="flatten"),
        ],
        {
            "scale": np.full(3, 1e-5, dtype=np.float32),
            "shift": np.zeros(3, dtype=np.float32),
            "mean": np.zeros(3, dtype=np.float32),
            "var": np.zeros(3, dtype=np.float32),
            "w": np.random.default_rng(0).normal(size=(4, 3, 4, 4)).astype(np.float32),
        },
    )
    images = made_images(3)
    assert cosines(embed(model, images), embed(to_half(model), images)).min() >= 0.9999


def test_a_layer_with_large_values_stays_float() -> None:
    model = depthwise_stack()
    factor = np.float32(1e6)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in ("w1", "b1"):
            tensor.CopyFrom(numpy_helper.from_array(value * factor, tensor.name))
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(value / factor, tensor.name))
    half = to_half(model)
    images = made_images(4)
    assert cosines(embed(model, images), embed(half, images)).min() >= 0.9999
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert kinds["w1"] == TensorProto.FLOAT
    assert kinds["w3"] == TensorProto.FLOAT16


def test_pixels_as_input() -> None:
    node = helper.make_node
    generator = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            node("Cast", ["pixels"], ["x"], name="cast", to=TensorProto.FLOAT),
            node("Div", ["x", "std"], ["y"], name="scale"),
            node("Flatten", ["y"], ["flat"], name="flatten"),
            node("MatMul", ["flat", "w"], ["embedding"], name="layer"),
        ],
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 4, 4, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(np.float32(127.5), "std"),
            numpy_helper.from_array(generator.normal(size=(48, 8)).astype(np.float32), "w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    pixels = generator.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    half = to_half(model)
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert cosines(embed(model, pixels), embed(half, pixels)).min() >= 0.9999
