from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.errors import ModelFileError
from facedistill.export.export import export_onnx
from facedistill.models import build_backbone
from facedistill.models.complexity import measure_complexity
from facedistill.models.onnx_complexity import measure_onnx
from facedistill.preprocessing import Preprocessing


@pytest.mark.parametrize(
    "name",
    [
        "tinyfacenet",
        "mobilefacenet",
        pytest.param("vit-tiny", marks=pytest.mark.slow),
        pytest.param("mobilenetv3", marks=pytest.mark.slow),
    ],
)
def test_an_exported_backbone_costs_what_it_did(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=16, width=0.25, input_size=64)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # so that the exporter merges no equal tensors
    export_onnx(
        Checkpoint(backbone.eval(), BackboneSpec(name, 16, 0.25), Preprocessing(size=64)), tmp_path / "model.onnx"
    )
    expected, found = measure_complexity(backbone, input_size=64), measure_onnx(tmp_path / "model.onnx")
    assert found.multiply_adds == expected.multiply_adds > 0
    if name != "vit-tiny":  # whose batch norm of the output has a linear layer without a bias before it
        # Scale and shift of a batch norm become a bias of the convolution before it, or join the one that it has.
        norms = [layer for layer in backbone.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
        assert expected.parameters - found.parameters == sum(norm.num_features for norm in norms)


def save(path: Path, nodes: list[Any], weights: dict[str, Any], shape: list[Any], opset: int = 17) -> Path:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def floats(*shape: int) -> Any:
    return np.ones(shape, dtype=np.float32)


def test_by_hand(tmp_path: Path) -> None:
    """A grouped convolution with a bias, a batch norm, PReLU, a product with a transposed matrix and a Gemm."""
    nodes = [
        helper.make_node("Conv", ["in", "w", "b"], ["maps"], group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["maps", "scale", "shift", "mean", "variance"], ["normed"]),
        helper.make_node("PRelu", ["normed", "slope"], ["active"]),
        helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.float32(0.5))),
        helper.make_node("Mul", ["active", "half"], ["halved"]),
        helper.make_node("GlobalAveragePool", ["halved"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Transpose", ["m"], ["turned"]),
        helper.make_node("MatMul", ["flat", "turned"], ["features"]),
        helper.make_node("Gemm", ["g", "features", "c"], ["across"], transA=1, transB=1),
        helper.make_node("Transpose", ["across"], ["out"]),
    ]
    weights = {"w": floats(6, 1, 3, 3), "b": floats(6), "scale": floats(6), "shift": floats(6), "mean": floats(6),
               "variance": floats(6), "slope": floats(6, 1, 1), "m": floats(4, 6), "g": floats(4, 5), "c": floats(5, 1),
               "unused": floats(99)}  # fmt: skip
    found = measure_onnx(save(tmp_path / "made.onnx", nodes, weights, ["n", 3, 10, 10]))
    assert found.multiply_adds == 6 * 5 * 5 * 9 + 4 * 6 + 5 * 4
    assert found.parameters == 54 + 6 + 12 + 6 + 24 + 20 + 5


@pytest.mark.parametrize(
    ("shape", "side"), [(["n", 3, 10, 10], 10), ([4, 3, 10, 10], 10), ([1, 3, "h", "w"], 112), ([None] * 4, 112)]
)
def test_one_image_whatever_the_batch(shape: list[Any], side: int, tmp_path: Path) -> None:
    if shape[1] is None:
        shape[1] = 3
    nodes = [helper.make_node("Conv", ["in", "w"], ["out"])]
    found = measure_onnx(save(tmp_path / "made.onnx", nodes, {"w": floats(2, 3, 1, 1)}, shape))
    assert found.multiply_adds == side * side * 2 * 3


def test_a_shape_computed_from_the_batch(tmp_path: Path) -> None:
    """As exporters write x.view(x.size(0), -1)."""
    nodes = [
        helper.make_node("Shape", ["in"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["count"]),
        helper.make_node("Unsqueeze", ["count", "zero"], ["counted"]),
        helper.make_node("Concat", ["counted", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["in", "wanted"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["out"]),
    ]
    weights = {"first": np.int64(0), "zero": np.array([0]), "rest": np.array([-1]), "m": floats(12, 5)}
    assert measure_onnx(save(tmp_path / "made.onnx", nodes, weights, ["n", 3, 2, 2])).multiply_adds == 60


def test_quantised_weights(tmp_path: Path) -> None:
    """Int8 weights and an int32 bias behind DequantizeLinear, as static quantisation writes them."""
    nodes = [
        helper.make_node("QuantizeLinear", ["in", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w8", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["b32", "scales", "zeros32"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["out"]),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0), "w8": np.ones((2, 3, 3, 3), dtype=np.int8), "scales": floats(2),
               "zeros": np.zeros(2, dtype=np.int8), "b32": np.zeros(2, dtype=np.int32),
               "zeros32": np.zeros(2, dtype=np.int32)}  # fmt: skip
    found = measure_onnx(save(tmp_path / "made.onnx", nodes, weights, ["n", 3, 5, 5]))
    assert (found.parameters, found.multiply_adds) == (54 + 2, 9 * 2 * 27)


def test_quantised_operators(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["in", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w8", "s", "z", "s", "z", "b32"], ["y"]),
        helper.make_node("DequantizeLinear", ["y", "s", "z"], ["out"]),
    ]
    weights = {"s": np.float32(0.1), "z": np.uint8(0), "w8": np.ones((2, 3, 3, 3), dtype=np.uint8),
               "b32": np.zeros(2, dtype=np.int32)}  # fmt: skip
    found = measure_onnx(save(tmp_path / "made.onnx", nodes, weights, ["n", 3, 5, 5]))
    assert (found.parameters, found.multiply_adds) == (54 + 2, 9 * 2 * 27)


def test_an_operator_that_nobody_knows_the_shape_of(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Strange", ["in"], ["x"], domain="somebody"),
        helper.make_node("MatMul", ["x", "m"], ["out"]),
    ]
    found = measure_onnx(save(tmp_path / "made.onnx", nodes, {"m": floats(12, 5)}, ["n", 3, 2, 2]))
    assert (found.parameters, found.multiply_adds) == (60, None)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    for name in ("bad.onnx", "none.onnx"):
        with pytest.raises(ModelFileError, match=rf"{name}: the ONNX file cannot be read"):
            measure_onnx(tmp_path / name)
