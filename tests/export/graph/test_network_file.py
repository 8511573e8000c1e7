from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedistill.errors import ModelFileError
from facedistill.export.graph import read_network

from .made_networks import embedding_network, network, node, noise, run


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    model = embedding_network()
    onnx.save(model, tmp_path / "a.onnx")
    assert read_network(tmp_path / "a.onnx") == model


def save_in_two(folder: Path) -> onnx.ModelProto:
    model = embedding_network()
    onnx.save(model, folder / "a.onnx", save_as_external_data=True, location="a.weights", size_threshold=0)
    return embedding_network()


def test_weights_in_another_file(tmp_path: Path) -> None:
    model = save_in_two(tmp_path)
    x = noise(2, 3, 8, 8)
    (tmp_path / "b.onnx").write_bytes(read_network(tmp_path / "a.onnx").SerializeToString())
    (tmp_path / "a.weights").unlink()
    assert np.array_equal(run(onnx.load(tmp_path / "b.onnx"), x)[0], run(model, x)[0])
    with pytest.raises(ModelFileError, match=r"a\.onnx: its weights are in a\.weights, which is missing"):
        read_network(tmp_path / "a.onnx")


def test_half_of_the_weights(tmp_path: Path) -> None:
    save_in_two(tmp_path)
    (tmp_path / "a.weights").write_bytes((tmp_path / "a.weights").read_bytes()[:100])
    with pytest.raises(ModelFileError, match="its weights in another file cannot be read"):
        read_network(tmp_path / "a.onnx")


def test_weights_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_in_two(tmp_path / "in")
    (tmp_path / "in" / "a.weights").rename(tmp_path / "a.weights")
    model = onnx.load(tmp_path / "in" / "a.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../a.weights"
    (tmp_path / "in" / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="its weights in another file cannot be read"):
        read_network(tmp_path / "in" / "a.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such ONNX file"),
        (b"", "the file is empty"),
        (b"a page of a web site", "the file is no ONNX file, or a damaged one"),
        (embedding_network().SerializeToString()[:300], "the file is no ONNX file, or a damaged one"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "the file holds no network"),
    ],
)
def test_no_network(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_network(path)
    assert caught.value.place == str(path)


def with_second_input() -> onnx.ModelProto:
    model = embedding_network(middle=[node("Add", "c z\x1b[2J", "m")])
    model.graph.input.append(helper.make_tensor_value_info("z\x1b[2J", TensorProto.FLOAT, ["n", 4, 8, 8]))
    return model


def with_opset(version: int, ir_version: int = 8) -> onnx.ModelProto:
    model = embedding_network()
    model.opset_import[0].version = version
    model.ir_version = ir_version
    return model


def with_foreign_operator(domain: str) -> onnx.ModelProto:
    model = embedding_network(middle=[node("Swirl", "c", "m", domain=domain)])
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


MEAN = [node("ReduceMean", "x", "y", axes=[1, 2, 3], keepdims=0)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (with_second_input(), r"the network takes 2 inputs \(x, z\\x1b\[2J\)"),
        (network([node("Flatten", "x", "y")], {}, taken=("n", 128)), "not one batch of images"),
        (network([node("Flatten", "x", "y")], {}, taken=("n", 1, 8, 8)), "has no axis of 3 colours"),
        (network([node("Flatten", "x", "y")], {}, taken=("n", 3, 8, 16)), "not square crops"),
        (
            network([node("Flatten", "x", "y")], {}, element=TensorProto.INT64),
            r"input is tensor\(int64\), not an image",
        ),
        (network([node("Relu", "x", "y")], {}), r"first output has shape \(1, 3, 8, 8\) for 1 images, not \(N, D\)"),
        (network(MEAN, {}), r"first output has shape \(1,\) for 1 images"),
        (network([node("Reshape", "x s", "y")], {"s": np.array([-1, 2])}), r"first output has shape \(96, 2\)"),
        (with_opset(99), r"operator set 99 \(IR version 8\), which is unknown to onnx"),
        (with_opset(17, 99), r"operator set 17 \(IR version 99\), which is unknown to onnx"),
        (with_foreign_operator("a.lab"), "has no operator a.lab:Swirl"),
        (with_foreign_operator(""), "has no operator Swirl"),
        (with_foreign_operator("com.microsoft"), "has no operator com.microsoft:Swirl"),
    ],
)
def test_each_fault_has_its_message(model: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=message) as caught:
        read_network(tmp_path / "a.onnx")
    assert caught.value.place == str(tmp_path / "a.onnx")
    assert "\x1b" not in str(caught.value)


def test_no_input(tmp_path: Path) -> None:
    model = network([node("Identity", "w", "y")], {"w": np.ones((1, 3))})
    del model.graph.input[:]
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="the network takes no input"):
        read_network(tmp_path / "a.onnx")


def test_another_fault_keeps_onnxruntimes_words(tmp_path: Path) -> None:
    model = embedding_network(middle=[node("Relu", "nowhere", "m")])
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"cannot be loaded .*nowhere"):
        read_network(tmp_path / "a.onnx")


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.UINT8])
@pytest.mark.parametrize("batch", ["n", 4])
def test_images_of_other_types_and_a_fixed_batch(element: int, batch: int | str, tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), node("Flatten", "f", "y")]
    model = network(nodes, {}, taken=(batch, 8, 8, 3), taken_element=element)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert read_network(tmp_path / "a.onnx") == model


def test_initializers_that_are_inputs_too_are_constants(tmp_path: Path) -> None:
    """The rule up to IR version 3."""
    model = embedding_network(opset=8)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.checker.check_model(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    read = read_network(tmp_path / "a.onnx")
    assert [value.name for value in read.graph.input] == ["x"]
    assert read.ir_version == 4
    onnx.checker.check_model(read)


def test_functions_are_written_out(tmp_path: Path) -> None:
    function = helper.make_function(
        "a.lab", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
    )
    model = embedding_network(middle=[node("Twice", "c", "m", domain="a.lab")])
    model.opset_import.append(helper.make_opsetid("a.lab", 1))
    model.functions.append(function)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    read = read_network(tmp_path / "a.onnx")
    assert "Add" in {each.op_type for each in read.graph.node}
    assert read.metadata_props == model.metadata_props
