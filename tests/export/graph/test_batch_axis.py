from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from facedistill.errors import GateError, ModelFileError
from facedistill.export.graph import check_graph, free_batch_axis

from .made_networks import Array, embedding_network, network, node, noise, run

X = noise(5, 3, 8, 8)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def embed_one_by_one(model: onnx.ModelProto, size: int = 1) -> Array:
    """Embeddings of the first images of X, as many as are whole batches of `size`."""
    return np.concatenate([run(model, X[start : start + size])[0] for start in range(0, 5 - size + 1, size)])


def test_a_fixed_axis_becomes_a_dynamic_one() -> None:
    model = embedding_network(batch=1)
    expected = embed_one_by_one(model)
    assert free_batch_axis(model) is True
    assert dims(model.graph.input[0]) == ["batch", 3, 8, 8]
    assert dims(model.graph.output[0]) == ["batch", 5]
    for batch in (1, 2, 5):
        np.testing.assert_allclose(run(model, X[:batch])[0], expected[:batch], atol=1e-6)
    assert [entry.value for entry in model.metadata_props] == ["by hand"]
    assert free_batch_axis(model) is False


@pytest.mark.parametrize(
    ("size", "shape", "repainted"),
    [
        (1, [1, -1], False),
        (1, [1, 4], False),
        (1, [-1, 4], False),
        (2, [2, -1], False),
        (2, [2, 4], False),
        (2, [0, 4], False),
        # A dynamic axis painted over a network that takes one size only (insightface #2406).
        (1, [1, -1], True),
        (1, [1, 4], True),
        (1, [-1, 4], True),
    ],
)
def test_constant_shapes_on_the_way(size: int, shape: list[int], repainted: bool) -> None:
    flatten = node("Reshape", "pooled shape", "flat")
    model = embedding_network(batch=size, flatten=flatten, constants={"shape": np.array(shape)})
    expected = embed_one_by_one(model, size)
    if repainted:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    assert free_batch_axis(model) is (shape[0] > 0 or not repainted)
    assert dims(model.graph.input[0])[0] == dims(model.graph.output[0])[0] == ("N" if repainted else "batch")
    for batch in range(1, len(expected) + 1):
        np.testing.assert_allclose(run(model, X[:batch])[0], expected[:batch], atol=1e-6)
    check_graph(model)


def test_shapes_that_merge_axes_zeros_and_constant_nodes() -> None:
    """A channel shuffle with the batch written in, as attention and shuffled nets have it."""
    shape = numpy_helper.from_array(np.array([1, 4, 8, 8]), "value")
    middle = [
        node("Reshape", "c split", "s"),
        node("Transpose", "s", "t", perm=[0, 2, 1, 3]),
        node("Constant", "", "merged", value=shape),
        node("Reshape", "t merged", "u"),
        node("Reshape", "u rows", "r", allowzero=1),
        node("Softmax", "r", "v", axis=-1),
        node("Reshape", "v back", "m", allowzero=1),
    ]
    constants = {
        "split": np.array([1, 2, 2, 64]),
        "rows": np.array([4, 64]),
        "back": np.array([1, -1, 8, 8]),
    }
    model = embedding_network(batch=1, middle=middle, constants=constants)
    expected = embed_one_by_one(model)
    assert free_batch_axis(model)
    for batch in (1, 2, 5):
        np.testing.assert_allclose(run(model, X[:batch])[0], expected[:batch], atol=1e-6)


def test_a_shape_that_others_read_stays_theirs() -> None:
    """Weights are reshaped by the same constant as what comes of the images."""
    flatten = node("Reshape", "pooled shape", "unscaled")
    model = embedding_network(
        batch=1, flatten=flatten, constants={"shape": np.array([1, 4]), "s": np.full((4, 1), 2.0)}
    )
    scale = [
        node("Relu", "s", "positive"),
        node("Reshape", "positive shape", "row"),
        node("Mul", "unscaled row", "flat"),
    ]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:-1], *scale, nodes[-1]])
    expected = embed_one_by_one(model)
    assert free_batch_axis(model)
    assert [each.input[1] for each in model.graph.node if each.op_type == "Reshape"] == ["unscaled_shape", "shape"]
    np.testing.assert_allclose(run(model, X)[0], expected, atol=1e-6)


def test_expand() -> None:
    middle = [node("GlobalAveragePool", "c", "g"), node("Expand", "g shape", "e"), node("Mul", "c e", "m")]
    model = embedding_network(batch=2, middle=middle, constants={"shape": np.array([2, 4, 8, 8])})
    expected = embed_one_by_one(model, 2)
    assert free_batch_axis(model)
    np.testing.assert_allclose(run(model, X[:3])[0], expected[:3], atol=1e-6)


def test_only_the_outputs_shape_is_fixed() -> None:
    model = embedding_network(given=(1, 5))
    assert free_batch_axis(model)
    assert dims(model.graph.output[0]) == ["n", 5]
    check_graph(model)


def test_what_runs_already_stays() -> None:
    model = embedding_network()
    before = model.SerializeToString()
    assert free_batch_axis(model) is False
    assert model.SerializeToString() == before


def test_a_batch_that_cannot_be_freed() -> None:
    middle = [node("Concat", "c token", "d", axis=2), node("AveragePool", "d", "m", kernel_shape=[3, 3])]
    model = embedding_network(batch=1, middle=middle, constants={"token": np.ones((1, 4, 1, 8))})
    before = model.SerializeToString()
    with pytest.raises(ModelFileError, match="made for a batch of 1 and cannot be freed of it"):
        free_batch_axis(model)
    assert model.SerializeToString() == before


def test_an_embedding_that_depends_on_the_others() -> None:
    middle = [node("ReduceMean", "c", "g", axes=[0], keepdims=1), node("Sub", "c g", "d"), node("Exp", "d", "m")]
    model = embedding_network(batch=1, middle=middle)
    with pytest.raises(ModelFileError, match=r"at batch 2 the unit embeddings differ by"):
        free_batch_axis(model)


def test_training_mode_is_named_instead() -> None:
    norm = node("BatchNormalization", "c one zero zero one", "m a b", training_mode=1, name="bn7")
    constants = {"one": np.ones(4), "zero": np.zeros(4)}
    with pytest.raises(GateError, match="the BatchNormalization bn7 is in training mode"):
        free_batch_axis(embedding_network(batch=1, middle=[norm], constants=constants))


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4 * 64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        # An int, so that the exporter writes it down.
        return self.linear(features.relu().view(int(features.shape[0]), -1))


def test_a_network_of_torchs_exporter() -> None:
    torch.manual_seed(0)
    backbone = Backbone().eval()
    program = torch.onnx.export(
        backbone, (torch.zeros(1, 3, 8, 8),), dynamo=True, input_names=["x"], output_names=["y"], verbose=False
    )
    assert program is not None
    model = program.model_proto
    with pytest.raises(GateError, match="input is fixed at 1"):
        check_graph(model)
    assert free_batch_axis(model)
    check_graph(model)
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(run(model, X)[0], expected, atol=1e-5)


def test_no_batch_of_images() -> None:
    model = network([node("Relu", "x", "y")], {}, taken=("n", 4))
    with pytest.raises(ModelFileError, match="does not take one batch of images"):
        free_batch_axis(model)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelFileError, match="does not take one batch of images"):
        free_batch_axis(model)
