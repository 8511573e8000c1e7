"""What is put before a network: pixels, and colours last."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedistill.errors import ModelFileError, PreprocessingMismatchError
from facedistill.export.graph import channels_last_input, check_graph, take_pixels
from facedistill.preprocessing import Preprocessing

from .made_networks import Shape, network, node, noise, run

CROPS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
SHAPES: dict[str, Shape] = {"nchw": ("n", 3, 8, 8), "nhwc": ("n", 8, 8, 3)}


def flatten(layout: str, **options: Any) -> onnx.ModelProto:
    """Gives what it takes, so that every pixel counts; its names are those that the steps would like to have."""
    nodes = [node("Identity", "x", "x_prepared", name="x_cast"), node("Flatten", "x_prepared", "y")]
    return network(nodes, {}, taken=SHAPES[layout], **options)


@pytest.mark.parametrize(("color", "layout"), list(product(("rgb", "bgr"), ("nchw", "nhwc"))))
def test_the_network_prepares_as_preprocessing_does(color: Any, layout: Any) -> None:
    preprocessing = Preprocessing(size=8, color=color, mean=120.5, std=58.25, layout=layout)
    model = flatten(layout)
    expected = run(model, preprocessing.to_numpy(CROPS))[0]
    take_pixels(model, preprocessing)
    check_graph(model)
    taken = model.graph.input[0]
    assert taken.name == "x"
    assert taken.type.tensor_type.elem_type == TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in taken.type.tensor_type.shape.dim] == ["n", 8, 8, 3]
    assert np.array_equal(run(model, CROPS)[0], expected)
    assert [entry.value for entry in model.metadata_props] == ["by hand"]


def test_half_precision_is_rounded_last() -> None:
    preprocessing = Preprocessing(size=8, mean=127.5, std=128.0)
    model = flatten("nchw", element=TensorProto.FLOAT16)
    expected = run(model, preprocessing.to_numpy(CROPS).astype(np.float16))[0]
    take_pixels(model, preprocessing)
    assert np.array_equal(run(model, CROPS)[0], expected)


def test_a_network_of_any_size_takes_the_stated_one() -> None:
    nodes = [node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0)]
    model = network(nodes, {}, taken=("n", 3, "h", "w"))
    take_pixels(model, Preprocessing(size=8))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims][1:] == [8, 8, 3]
    np.testing.assert_allclose(run(model, CROPS)[0], (CROPS.mean((1, 2)) - 127.5) / 127.5, atol=1e-6)


def test_a_network_whose_branch_reads_the_input() -> None:
    def branch(operator: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph([node(operator, "x", "o")], "b", [], [output])

    choice = node("If", "yes", "m", then_branch=branch("Neg"), else_branch=branch("Abs"))
    model = network([choice, node("Flatten", "m", "y")], {"yes": np.array(True)}, given={"y": ("n", 192)})
    preprocessing = Preprocessing(size=8)
    expected = run(model, preprocessing.to_numpy(CROPS))[0]
    take_pixels(model, preprocessing)
    assert np.array_equal(run(model, CROPS)[0], expected)


@pytest.mark.parametrize("preprocessing", [Preprocessing(size=8, layout="nhwc"), Preprocessing(size=112)])
def test_another_layout_or_size(preprocessing: Preprocessing) -> None:
    model = flatten("nchw")
    before = model.SerializeToString()
    with pytest.raises(PreprocessingMismatchError, match="takes nchw 8 and its preprocessing says"):
        take_pixels(model, preprocessing)
    assert model.SerializeToString() == before


def test_pixels_twice() -> None:
    model = flatten("nchw")
    take_pixels(model, Preprocessing(size=8))
    with pytest.raises(ModelFileError, match="input is uint8"):
        take_pixels(model, Preprocessing(size=8, layout="nhwc"))


def test_colors_last() -> None:
    model = flatten("nchw")
    x = noise(3, 3, 8, 8)
    expected = run(model, x)[0]
    channels_last_input(model)
    check_graph(model)
    after = model.SerializeToString()
    assert np.array_equal(run(model, x.transpose(0, 2, 3, 1))[0], expected)
    channels_last_input(model)
    assert model.SerializeToString() == after


def test_colors_last_of_any_size_and_a_fixed_batch() -> None:
    nodes = [node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0)]
    model = network(nodes, {}, taken=(2, 3, "side", "side"))
    channels_last_input(model)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [2, "side", "side", 3]
    with pytest.raises(ModelFileError, match="has no axis of 3 colours"):
        channels_last_input(network(nodes, {}, taken=(2, 1, 8, 8)))
