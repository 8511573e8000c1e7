from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from facedistill.errors import GateError, ModelFileError, UsageError
from facedistill.export.graph import check_graph, convert_opset, normalise_output, opset
from facedistill.export.graph.opset import largest_opset, runs_opset

from .made_networks import embedding_network, node, noise, operators, run

STATE = {
    "one": np.array([1.0, 2.0, 0.5, 3.0]),
    "zero": np.array([0.1, 0.2, 0.0, -1.0]),
    "slope": np.full((4, 1, 1), 0.3),
}


def every_kind_of_layer() -> onnx.ModelProto:
    """What torch's exporter writes of a backbone, with the attributes that it writes at their defaults."""
    middle = [
        node("BatchNormalization", "c one zero zero one", "b", training_mode=0),
        node("PRelu", "b slope", "p"),
        node("Relu", "p", "q"),
        node("Add", "p q", "s"),
        node("ReduceMean", "s axes", "g", noop_with_empty_axes=0),
        node("HardSigmoid", "g", "h"),
        node("Mul", "s h", "m"),
    ]
    flatten = node("Reshape", "pooled shape", "flat", allowzero=1)
    constants = {**STATE, "axes": np.array([2, 3]), "shape": np.array([-1, 4])}
    model = embedding_network(middle=middle, flatten=flatten, constants=constants, opset=18)
    normalise_output(model)
    return model


@pytest.mark.parametrize("version", [13, 14, 17, 18, 19, 22, 26])
def test_the_results_and_the_facts_stay(version: int) -> None:
    if not runs_opset(version):
        pytest.skip("newer than the installed onnx or onnxruntime")
    model = every_kind_of_layer()
    before = model.SerializeToString()
    converted = convert_opset(model, version)
    assert model.SerializeToString() == before
    x = noise(3, 3, 8, 8)
    np.testing.assert_allclose(run(converted, x)[0], run(model, x)[0], atol=1e-6)
    assert [(entry.domain, entry.version) for entry in converted.opset_import] == [("", version)]
    assert {each.domain for each in converted.graph.node} == {""}
    assert converted.metadata_props == model.metadata_props
    assert converted.graph.input == model.graph.input
    check_graph(converted)


def test_an_old_operator_set_comes_with_an_old_file_format() -> None:
    model = embedding_network(opset=18)
    assert (convert_opset(model, 9).ir_version, convert_opset(model, 11).ir_version) == (4, 6)
    assert convert_opset(model, 21).ir_version == 10
    newer = embedding_network(opset=18)
    newer.ir_version = 11
    assert convert_opset(newer, 21).ir_version == 11


def test_axes_become_an_attribute() -> None:
    converted = convert_opset(every_kind_of_layer(), 13)
    (mean,) = (each for each in converted.graph.node if each.op_type == "ReduceMean")
    assert len(mean.input) == 1
    assert {each.name for each in mean.attribute} >= {"axes"}


def test_an_operator_that_is_too_new() -> None:
    model = embedding_network(middle=[node("HardSwish", "c", "m")])
    with pytest.raises(ModelFileError, match=r"cannot be written in operator set 13 \(.*HardSwish.*Keep its own.* 17"):
        convert_opset(model, 13)


@pytest.mark.parametrize("version", [-1, 0, 6, 99])
def test_operator_sets_that_there_are_not(version: int) -> None:
    with pytest.raises(UsageError, match=f"the operator set is {version}.* know 7 to {largest_opset()}"):
        convert_opset(embedding_network(), version)


def test_other_embeddings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
        model.opset_import[0].version = version
        for tensor in model.graph.initializer:
            if tensor.name == "last":
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "last"))
        return model

    monkeypatch.setattr(opset.onnx.version_converter, "convert_version", careless)
    with pytest.raises(GateError, match=r"in operator set 14 the unit embeddings differ by"):
        convert_opset(embedding_network(), 14)


def test_an_invalid_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
        model.opset_import[0].version = version
        model.graph.node[1].op_type = "Nothing"
        return model

    monkeypatch.setattr(opset.onnx.version_converter, "convert_version", careless)
    with pytest.raises(GateError, match="the network is invalid in operator set 14"):
        convert_opset(embedding_network(), 14)


def test_the_largest_is_the_last_that_runs() -> None:
    assert runs_opset(largest_opset())
    assert not runs_opset(largest_opset() + 1)
    assert not runs_opset(17, ir_version=99)


def test_half_precision_and_operators_of_onnxruntimes_own() -> None:
    model = embedding_network(middle=[node("Gelu", "c", "m", domain="com.microsoft")])
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert operators(convert_opset(model, 20))["Gelu"] == 1
    half = embedding_network(element=TensorProto.FLOAT16)
    assert convert_opset(half, 13).graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


def test_an_attribute_that_the_older_set_does_not_know() -> None:
    middle = [node("Split", "c", "a b", axis=1, num_outputs=2), node("Concat", "b a", "m", axis=1)]
    with pytest.raises(ModelFileError, match=r"cannot be written in operator set 13 \(.*Split"):
        convert_opset(embedding_network(middle=middle, opset=18), 13)
