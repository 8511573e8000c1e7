from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from facedistill.errors import ModelFileError
from facedistill.export.onnx_metadata import add_metadata, read_metadata


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Adds to its input numbers that may lie in a file of their own."""
    numbers = onnx.numpy_helper.from_array(np.arange(400, dtype=np.float32), "numbers")
    graph = helper.make_graph(
        [helper.make_node("Add", ["in", "numbers"], ["out"])],
        "sum",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [400])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [400])],
        [numbers],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(made, {"facedistill.preprocessing": "{}", "b": "old"})
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_facts_are_added_and_nothing_else_changes(model: Path) -> None:
    before = onnx.load(model)
    add_metadata(model, {"b": "new", "c": "ä"})
    assert read_metadata(model) == {"facedistill.preprocessing": "{}", "b": "new", "c": "ä"}
    after = onnx.load(model)
    assert after.graph == before.graph
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["c"] == "ä"


def test_weights_in_another_file_stay_there(model: Path) -> None:
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    size = model.stat().st_size
    add_metadata(model, {"c": "d"})
    assert model.stat().st_size < size + 100
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.run(None, {"in": np.ones(400, dtype=np.float32)})[0][-1] == 400


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_what_is_no_onnx_file(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.onnx"):
        add_metadata(path, {"a": "b"})
    assert not path.exists() or path.read_bytes() == content
