from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from facedistill.export.precision.activations import embed
from facedistill.export.precision.half import to_half
from facedistill.export.precision.layer_errors import layer_errors

from .made_networks import depthwise_stack, made_images

NAMES = [
    *("first", "prelu0", "expand", "prelu1", "depthwise", "prelu2", "project", "residual", "pool", "flatten", "last"),
]


def test_equal_networks_have_no_errors() -> None:
    model = depthwise_stack()
    errors = layer_errors(model, model, made_images(10))
    assert [name for name, _ in errors] == NAMES
    assert [cosine for _, cosine in errors] == pytest.approx([1] * len(NAMES))


def test_a_ruined_layer_is_the_first_that_differs() -> None:
    model, ruined = depthwise_stack(), depthwise_stack()
    for tensor in ruined.graph.initializer:
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "w2"))
    errors = dict(layer_errors(model, ruined, made_images(4)))
    assert next(name for name in NAMES if errors[name] < 0.99) == "depthwise"


def test_the_cosine_is_that_of_all_values() -> None:
    model, other = depthwise_stack(), depthwise_stack()
    for tensor in other.graph.initializer:
        if tensor.name == "b4":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.3), "b4"))
    images = made_images(11)
    a, b = embed(model, images).ravel(), embed(other, images).ravel()
    expected = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert expected < 0.999
    assert layer_errors(model, other, images)[-1] == ("last", pytest.approx(expected, abs=1e-6))


def test_half_precision_is_compared_and_unknown_names_are_left_out() -> None:
    model = depthwise_stack()
    half = to_half(model)
    nodes = {node.name: node for node in half.graph.node}
    nodes["expand"].output[0] = nodes["prelu1"].input[0] = "renamed"
    errors = dict(layer_errors(model, half, made_images(4)))
    assert "prelu1" in errors
    assert "expand" not in errors
    assert min(errors.values()) > 0.9999
