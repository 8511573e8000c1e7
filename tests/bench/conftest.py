from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def write_onnx(path: Path, **settings: Any) -> Path:
    weights = numpy_helper.from_array(np.ones((4, 3, 8, 8), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["in", "w"], ["maps"]), helper.make_node("Flatten", ["maps"], ["out"])],
        "small",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, **settings)
    return path


@pytest.fixture(scope="session")
def make_onnx() -> Callable[..., Path]:
    """Writes an ONNX file of one convolution; settings are those of `onnx.save`."""
    return write_onnx
