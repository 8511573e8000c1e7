from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper

from facedistill.errors import DataError, ModelFileError, UsageError
from facedistill.export.graph import fold_batch_norms
from facedistill.export.precision import Int8Options, layer_errors, quantise_static, quantise_weights, to_half
from facedistill.export.precision.activations import cosines, embed
from facedistill.export.precision.integer_prelu import split_prelus
from facedistill.export.trace import trace
from facedistill.models import BACKBONES

from ..made_checkpoints import made_checkpoint
from .made_networks import depthwise_stack, made_images, made_network


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("steep", [True, False])
def test_a_depthwise_stack(steep: bool) -> None:
    model = depthwise_stack(steep=steep)
    before = model.SerializeToString()
    notes: list[str] = []
    quantised = quantise_static(model, made_images(40), note=notes.append)
    assert model.SerializeToString() == before
    result = quantised.model
    onnx.checker.check_model(result, full_check=True)
    images = made_images(20, seed=5)
    assert cosines(embed(model, images), embed(result, images)).mean() > 0.99
    assert quantised.cosine > 0.99 >= quantised.lowest_cosine - 0.01
    assert quantised.equalised == 2
    assert (quantised.quantised_layers, quantised.excluded, quantised.sensitive) == (3, ("first", "last"), {})
    assert set(quantised.cosines) == {"min-max", "entropy", "percentile"}
    assert quantised.cosines[quantised.method] == max(quantised.cosines.values())
    assert (quantised.calibrated_on, quantised.held_out) == (32, 8)
    assert "ranges by" in notes[0]
    assert len(notes) == 1
    stored = {tensor.name: tensor.data_type for tensor in result.graph.initializer}
    assert [stored.get(f"w{layer}_quantized") for layer in (1, 2, 3)] == [TensorProto.INT8] * 3
    assert stored["w0"] == TensorProto.FLOAT
    # The first PReLU has slopes beyond 1 that nothing can turn, as two read its result.
    assert kinds(result)["Max"] == (2 if steep else 3)
    assert kinds(result)["PRelu"] == (1 if steep else 0)
    assert {entry.key: entry.value for entry in result.metadata_props} == {"made_by": "hand"}
    assert [result.graph.input[0].name, result.graph.output[0].name] == ["input", "embedding"]
    session = ort.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        assert session.run(None, {"input": made_images(batch)})[0].shape == (batch, 12)
    json.dumps(quantised.to_dict())
    assert all(isinstance(cell, str) for row in quantised.table()[1] for cell in row)


def test_the_maximum_is_taken_of_integers() -> None:
    quantised = quantise_static(depthwise_stack(), made_images(20), options=Int8Options(methods=("min-max",)))
    graph = quantised.model.graph
    written = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Max":
            assert all(written[name].op_type == "QuantizeLinear" for name in node.input)
            assert [each.op_type for each in graph.node if node.output[0] in each.input] == ["DequantizeLinear"]


def test_split_prelus_give_the_same() -> None:
    model = depthwise_stack(steep=False)
    images = made_images(4)
    expected = embed(model, images)
    assert [split.x for split in split_prelus(model)] == ["x0", "x1", "x2"]
    assert np.allclose(embed(model, images), expected, atol=1e-6)
    assert split_prelus(depthwise_stack(steep=True)) == []


def test_equalising_is_what_saves_a_depthwise_stack() -> None:
    model = depthwise_stack(spread=8)
    found = {
        equalised: quantise_static(
            model, made_images(40), options=Int8Options(target=0.001, equalise=equalised, methods=("min-max",))
        ).cosine
        for equalised in (True, False)
    }
    assert found[True] > 0.99
    assert 1 - found[False] > 3 * (1 - found[True])


def ruined_by_quantisation() -> onnx.ModelProto:
    """The channels that "expand" gives are a million times apart, and "depthwise" makes up for it."""
    model = depthwise_stack(steep=False)
    scale = np.where(np.arange(24) == 3, 1e6, 1).astype(np.float32)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name in ("w1", "b1"):
            tensor.CopyFrom(numpy_helper.from_array(value * scale.reshape(-1, *[1] * (value.ndim - 1)), tensor.name))
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(value / scale.reshape(-1, 1, 1, 1), tensor.name))
    return model


def test_a_layer_that_8_bits_ruin_is_found_and_left_in_float() -> None:
    model = ruined_by_quantisation()
    notes: list[str] = []
    steps: list[tuple[int, int]] = []
    options = Int8Options(equalise=False, methods=("min-max",))
    quantised = quantise_static(
        model, made_images(40), options=options, note=notes.append, progress=lambda *step: steps.append(step)
    )
    assert quantised.cosines["min-max"] < 0.99 <= quantised.cosine
    assert list(quantised.sensitive) == ["expand", "depthwise"] or list(quantised.sensitive) == ["depthwise", "expand"]
    assert "left in float" in notes[1]
    assert steps == [(done, 5) for done in range(1, 6)]
    # Without it, the layer is the first that the comparison names.
    ruined = quantise_static(model, made_images(40), options=Int8Options(0.001, equalise=False, methods=("min-max",)))
    errors = layer_errors(ruined.float_model, ruined.model, made_images(8))
    assert next(name for name, cosine in errors if cosine < 0.99) in ("expand", "expand_scaled", "prelu1", "depthwise")


def test_few_images_and_no_layers() -> None:
    with pytest.raises(DataError, match="7 images are too few"):
        quantise_static(depthwise_stack(), made_images(7))
    network = made_network([onnx.helper.make_node("Flatten", ["input"], ["embedding"])], {})
    with pytest.raises(ModelFileError, match="no layers to quantise"):
        quantise_static(network, made_images(10))


@pytest.mark.parametrize("options", [{"target": 1.0}, {"target": float("nan")}, {"methods": ()}, {"methods": ("max",)}])
def test_options_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Int8Options(**options)  # type: ignore[arg-type]


QUICK = ("tinyfacenet", "mobilefacenet")


@pytest.mark.parametrize(
    "name",
    [pytest.param(entry.name, marks=() if entry.name in QUICK else pytest.mark.slow) for entry in BACKBONES],
)
def test_every_backbone_in_every_precision(name: str) -> None:
    checkpoint = made_checkpoint(name, size=32 if name in QUICK else 64)
    size = checkpoint.preprocessing.size
    model = trace(checkpoint.backbone, torch.zeros(2, 3, size, size))
    fold_batch_norms(model)
    generator = np.random.default_rng(0)
    coarse = generator.uniform(-1, 1, (48, 3, 8, 8)).repeat(size // 8, axis=2).repeat(size // 8, axis=3)
    images = coarse.astype(np.float32)
    expected = embed(model, images[:16])
    assert cosines(expected, embed(to_half(model), images[:16])).min() >= 0.9999
    assert cosines(expected, embed(quantise_weights(model), images[:16])).mean() >= 0.98
    # The search by entropy takes a tenth of a second for each tensor.
    options = Int8Options(methods=("min-max", "percentile"))
    quantised = quantise_static(model, images[16:], options=options)
    assert cosines(expected, embed(quantised.model, images[:16])).mean() >= 0.98
    assert quantised.quantised_layers > 0
