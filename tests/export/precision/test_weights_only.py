from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.export.precision.activations import cosines, embed
from facedistill.export.precision.weights_only import quantise_weights, round_weight

from .made_networks import made_images, made_network


def test_rounding_by_hand() -> None:
    weight = np.array([[1.27, -0.005], [0, 0], [-25.4, 12.7]], dtype=np.float32)
    values, scales = round_weight(weight, 0)
    assert values.tolist() == [[127, 0], [0, 0], [-127, 64]]  # -0.5 and 63.5 go to the even neighbour
    assert scales == pytest.approx([0.01, 1, 0.2])
    values, scales = round_weight(weight, 1)
    assert scales == pytest.approx([0.2, 0.1])
    assert values.tolist() == [[6, 0], [0, 0], [-127, 127]]


def three_layers(opset: int) -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    node = helper.make_node
    # Channels of different size want a scale each.
    uneven = np.exp(generator.uniform(-1, 1, 64)).astype(np.float32)
    return made_network(
        [
            node("Conv", ["input", "w1"], ["x"], name="convolution", strides=[4, 4]),
            node("Flatten", ["x"], ["flat"], name="flatten"),
            node("Gemm", ["flat", "w2", "b2"], ["y"], name="gemm"),
            node("Relu", ["y"], ["z"], name="relu"),
            node("Gemm", ["z", "w3"], ["u"], name="gemm_transposed", transB=1),
            node("MatMul", ["u", "w4"], ["embedding"], name="matmul"),
        ],
        {
            "w1": generator.normal(size=(32, 3, 4, 4)).astype(np.float32),
            "w2": generator.normal(size=(512, 64)).astype(np.float32) * uneven,
            "b2": generator.normal(size=64).astype(np.float32),
            "w3": generator.normal(size=(64, 64)).astype(np.float32),
            "w4": generator.normal(size=(64, 16)).astype(np.float32),
        },
        opset=opset,
    )


@pytest.mark.parametrize("opset", [11, 18])
def test_every_kind_of_layer(opset: int) -> None:
    model = three_layers(opset)
    before = model.SerializeToString()
    result = quantise_weights(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(result, full_check=True)
    images = made_images(6)
    assert cosines(embed(model, images), embed(result, images)).min() > 0.999
    kinds = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in result.graph.initializer}
    assert kinds["w2_quantised"] == (TensorProto.INT8, [512, 64])
    assert [kinds[f"w{index}_scale"][1] for index in (1, 2, 3, 4)] == [[32], [64], [64], [16]]
    assert "w2" not in kinds
    assert result.ByteSize() < 0.3 * model.ByteSize()


def test_only_the_layers_asked_for() -> None:
    model = three_layers(18)
    result = quantise_weights(model, {"gemm"})
    stored = {tensor.name for tensor in result.graph.initializer if tensor.data_type == TensorProto.INT8}
    assert stored == {"w2_quantised"}
    # What is not a weight of that layer is the same number for number.
    same = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in result.graph.initializer:
        if tensor.name in same:
            assert np.array_equal(numpy_helper.to_array(tensor), same[tensor.name])
