from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto

from facedistill.errors import ModelFileError
from facedistill.export.graph import check_graph, normalise_output

from .made_networks import network, node, noise, run


@pytest.mark.parametrize("opset", [7, 13, 17, 18, 21])
@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_torch_is_the_oracle(opset: int, element: int) -> None:
    dtype = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}[element]
    nodes = [node("Flatten", "x", "y", name="y_length")]
    model = network(nodes, {}, element=element, opset=opset)
    # One of zeros, and one whose squares are too large for half precision.
    x = noise(4, 3, 8, 8) * np.array([1, 0, 60, 1e-3]).reshape(4, 1, 1, 1)
    x = (x * 20).astype(dtype)
    normalise_output(model)
    (units,) = run(model, x)
    expected = torch.nn.functional.normalize(torch.from_numpy(x.reshape(4, -1).astype(np.float64))).numpy()
    np.testing.assert_allclose(units, expected, atol=5e-4 if dtype == np.float16 else 1e-6)
    assert units.dtype == dtype
    assert not units[1].any()
    if element == TensorProto.FLOAT:
        check_graph(model)


def test_whoever_else_reads_the_embedding_gets_it_as_it_was() -> None:
    nodes = [node("Flatten", "x", "y"), node("Mul", "y two", "z")]
    model = network(nodes, {"two": 2.0}, given={"y": ("n", 192), "z": ("n", 192)})
    x = noise(2, 3, 8, 8)
    before = run(model, x)
    normalise_output(model)
    units, doubled = run(model, x)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-6)
    assert np.array_equal(doubled, before[1])


def test_normalised_twice_is_normalised() -> None:
    model = network([node("Flatten", "x", "y")], {})
    x = noise(2, 3, 8, 8)
    normalise_output(model)
    once = run(model, x)[0]
    normalise_output(model)
    np.testing.assert_allclose(run(model, x)[0], once, atol=1e-6)


def test_no_embedding() -> None:
    model = network([node("ArgMax", "x", "y")], {})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelFileError, match="first output is no embedding"):
        normalise_output(model)
