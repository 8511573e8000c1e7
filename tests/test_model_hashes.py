from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedistill.errors import ModelFileError
from facedistill.export.onnx_metadata import add_metadata
from facedistill.export.saved_thresholds import save_thresholds
from facedistill.files import file_sha256
from facedistill.model_hashes import known_hashes


@pytest.fixture
def network(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        weights = numpy_helper.from_array(np.ones((4, 3, 8, 8), dtype=np.float32), "w")
        graph = helper.make_graph(
            [helper.make_node("Conv", ["in", "w"], ["maps"]), helper.make_node("Flatten", ["maps"], ["out"])],
            "small",
            [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])],
            [weights],
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make


@pytest.mark.parametrize("facts", [{}, {"facedistill.embedding_size": "4"}])
def test_a_model_is_known_by_what_it_was_before_thresholds_were_saved(
    network: Callable[[], Path], facts: dict[str, str]
) -> None:
    path = network()
    if facts:
        add_metadata(path, facts)
    before = file_sha256(path)
    assert known_hashes(path) == (before,)
    for cosine in (0.3, 0.4):  # saved twice, the second in the place of the first
        save_thresholds(path, [{"far": 1e-3, "cosine": cosine, "benchmark": "ours"}])
        assert known_hashes(path) == (file_sha256(path), before)
        assert file_sha256(path) != before


def test_other_metadata_make_another_file(network: Callable[[], Path]) -> None:
    path = network()
    before = file_sha256(path)
    add_metadata(path, {"facedistill.embedding_size": "4"})
    assert before not in known_hashes(path)


def test_a_checkpoint_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    assert known_hashes(path) == (file_sha256(path),)


def test_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelFileError, match="no ONNX file"):
        known_hashes(path)
