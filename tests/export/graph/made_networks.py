"""Small networks written by hand, and how they are run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from facedistill.export.graph.trial import open_network

Array = npt.NDArray[Any]
Shape = Sequence[int | str | None]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are separated by spaces, a dash is one left out."""
    names = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(operator, *names, **attributes)


def network(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array | float],
    *,
    taken: Shape = ("n", 3, 8, 8),
    given: Mapping[str, Shape | None] | None = None,
    opset: int = 17,
    element: int = TensorProto.FLOAT,
    taken_element: int | None = None,
) -> onnx.ModelProto:
    """A network from x to y, or to the outputs of `given`, None being a shape to infer.

    Its constants have the dtype of `element` unless they are whole numbers.
    """
    given = given or {"y": None}
    dtype = helper.tensor_dtype_to_np_dtype(element)
    tensors = []
    for name, value in constants.items():
        array = np.asarray(value)
        tensors.append(numpy_helper.from_array(array if array.dtype.kind in "ib" else array.astype(dtype), name))
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", taken_element or element, taken)],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in given.items()],
        tensors,
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=max(7, helper.find_min_ir_version_for(imports)))
    if any(shape is None for shape in given.values()):
        inferred = onnx.shape_inference.infer_shapes(model).graph
        del model.graph.output[:]
        model.graph.output.extend(inferred.output)
    helper.set_model_props(model, {"facedistill.made": "by hand"})
    return model


def embedding_network(
    *,
    batch: int | str = "n",
    middle: Sequence[onnx.NodeProto] = (),
    flatten: onnx.NodeProto | None = None,
    constants: Mapping[str, Array | float] | None = None,
    given: Shape | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """x (N, 3, 8, 8) -> Conv, 4 channels -> `middle`, from c to m -> mean of each channel -> Gemm -> y (N, 5)."""
    generator = np.random.default_rng(1)
    return network(
        [
            node("Conv", "x w", "c", pads=[1, 1, 1, 1], name="first"),
            *(middle or [node("Relu", "c", "m")]),
            node("GlobalAveragePool", "m", "pooled"),
            flatten or node("Flatten", "pooled", "flat"),
            node("Gemm", "flat last last_bias", "y"),
        ],
        {
            "w": generator.normal(size=(4, 3, 3, 3)),
            "last": generator.normal(size=(4, 5)),
            "last_bias": generator.normal(size=5),
            **(constants or {}),
        },
        taken=(batch, 3, 8, 8),
        given={"y": given or (batch, 5)},
        **options,
    )


def noise(*shape: int, dtype: type = np.float32) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    """All outputs, after onnx's own check of the graph."""
    onnx.checker.check_model(model, full_check=True)
    return [np.asarray(output) for output in open_network(model).run(None, {"x": x})]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(each.op_type for each in model.graph.node)
