"""The input of a network, and what is put before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper

from facedistill.embedders.onnx_embedder import read_layout
from facedistill.errors import ModelFileError
from facedistill.export.graph.tensor_types import read_type
from facedistill.export.graph.trial import IN_MEMORY
from facedistill.export.graph.wiring import fresh_name, rename_reads
from facedistill.preprocessing import Layout


@dataclass(frozen=True)
class Step:
    """An operator of one tensor, to be put before a network.

    Attributes:
        operator: of ONNX's own.
        constants: names of initializers that it reads besides.
        attributes: by name.
    """

    operator: str
    constants: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


def find_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input, initializers that are listed as inputs left out; ModelFileError where it isn't images."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ModelFileError("the network does not take one batch of images")
    image: onnx.ValueInfoProto = inputs[0]
    return image


def find_layout(value: onnx.ValueInfoProto) -> tuple[Layout, int | None]:
    """Layout and side in pixels of an input, None where it takes any; ModelFileError where its shape shows neither."""
    shape: list[int | str | None] = list(read_type(value).shape or ())
    layout, side = read_layout(shape, IN_MEMORY)
    sides = shape[2:] if layout == "nchw" else shape[1:3]
    return layout, None if None in sides else side


def put_before(model: onnx.ModelProto, steps: Sequence[Step], element: int, sides: Sequence[int | str | None]) -> None:
    """Let a network's input run through further operators first; it keeps its name and its batch axis.

    Args:
        model: changed in place.
        steps: in the order in which they run.
        element: the new element type of the input, an `onnx.TensorProto.DataType`.
        sides: the new sizes of its axes after the first; names and None are dynamic.
    """
    graph, value = model.graph, find_input(model)
    old = len(graph.node)
    behind = fresh_name(graph, f"{value.name}_prepared")
    rename_reads(graph, value.name, behind)
    read = value.name
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        written = behind if last else fresh_name(graph, f"{value.name}_{step.operator.lower()}")
        graph.node.append(
            helper.make_node(step.operator, [read, *step.constants], [written], name=written, **step.attributes)
        )
        read = written
    # Nodes stand in the order in which they run.
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes[old:], *nodes[:old]])
    batch = value.type.tensor_type.shape.dim[0]
    first = batch.dim_value if batch.HasField("dim_value") else batch.dim_param or None
    value.type.CopyFrom(helper.make_tensor_type_proto(element, [first, *sides]))


def sides_of(value: onnx.ValueInfoProto) -> list[int | str | None]:
    """Sizes of an input's axes after the first: a number, a name, or None."""
    return [
        int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
        for dim in value.type.tensor_type.shape.dim[1:]
    ]
