"""Small networks of random weights, written with onnx.helper."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 16


def made_network(
    nodes: list[onnx.NodeProto], weights: dict[str, npt.NDArray[Any]], *, opset: int = 18, **metadata: str
) -> onnx.ModelProto:
    """A network from "input", (batch, 3, 16, 16) float32, to "embedding"."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def depthwise_stack(*, seed: int = 0, steep: bool = True, spread: float = 3.0) -> onnx.ModelProto:
    """Convolution, PReLU, expansion, PReLU, depthwise, PReLU, projection, sum with its input, pooling, Gemm.

    The channels of the depthwise block have ranges that lie `spread` powers of e apart, and slopes beyond 1 where
    `steep`.
    """
    generator = np.random.default_rng(seed)
    channels, wide = 8, 24

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def slopes(count: int) -> npt.NDArray[np.float32]:
        return generator.uniform(-4 if steep else -1, 4 if steep else 1, (count, 1, 1)).astype(np.float32)

    expand, project, depthwise = normal(wide, channels, 1, 1), normal(channels, wide, 1, 1), normal(wide, 1, 3, 3)
    uneven = np.exp(generator.uniform(-spread / 2, spread / 2, (2, wide))).astype(np.float32)
    weights = {
        "w0": normal(channels, 3, 3, 3) * 2,
        "b0": normal(channels),
        "s0": slopes(channels),
        "w1": expand * uneven[0].reshape(-1, 1, 1, 1),
        "b1": normal(wide) * uneven[0],
        "s1": slopes(wide),
        "w2": depthwise * (uneven[1] / uneven[0]).reshape(-1, 1, 1, 1),
        "b2": normal(wide) * uneven[1],
        "s2": slopes(wide),
        "w3": project / uneven[1].reshape(1, -1, 1, 1),
        "b3": normal(channels),
        "w4": normal(12, channels),
        "b4": normal(12),
    }
    node = helper.make_node
    return made_network(
        [
            node("Conv", ["input", "w0", "b0"], ["x0"], name="first", pads=[1] * 4, strides=[2, 2]),
            node("PRelu", ["x0", "s0"], ["y0"], name="prelu0"),
            node("Conv", ["y0", "w1", "b1"], ["x1"], name="expand"),
            node("PRelu", ["x1", "s1"], ["y1"], name="prelu1"),
            node("Conv", ["y1", "w2", "b2"], ["x2"], name="depthwise", group=wide, pads=[1] * 4),
            node("PRelu", ["x2", "s2"], ["y2"], name="prelu2"),
            node("Conv", ["y2", "w3", "b3"], ["x3"], name="project"),
            node("Add", ["y0", "x3"], ["sum"], name="residual"),
            node("GlobalAveragePool", ["sum"], ["pooled"], name="pool"),
            node("Flatten", ["pooled"], ["flat"], name="flatten"),
            node("Gemm", ["flat", "w4", "b4"], ["embedding"], name="last", transB=1),
        ],
        weights,
        made_by="hand",
    )


def made_images(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, 3, 16, 16) float32 in -1 to 1, smooth enough to differ after pooling."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(-1, 1, (count, 3, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    return np.clip(coarse + generator.normal(0, 0.1, coarse.shape), -1, 1).astype(np.float32)
