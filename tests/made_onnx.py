"""A small ONNX embedding network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_onnx(path: Path, **settings: Any) -> Path:
    """One convolution, from crops of 8 x 8 to 4 numbers; settings are those of `onnx.save`."""
    weights = numpy_helper.from_array(np.ones((4, 3, 8, 8), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["in", "w"], ["maps"]), helper.make_node("Flatten", ["maps"], ["out"])],
        "small",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 4])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **settings)
    return path
