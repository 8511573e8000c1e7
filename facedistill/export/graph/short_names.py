"""Short names for the values inside a graph."""

from __future__ import annotations

import onnx

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def shorten_names(model: onnx.ModelProto) -> None:
    """Give every value but the graph's own inputs and outputs a name of a few letters, in place.

    A quantised network has five values for each one of the float network, whose names are made by adding to the old
    ones; in a small network they take more room than the weights. Nodes keep their names, by which layers are known. A
    graph with graphs inside, whose names reach across, stays as it is.
    """
    graph = model.graph
    inner = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if any(attribute.type in inner for node in graph.node for attribute in node.attribute):
        return
    kept: set[str] = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {name: name for name in kept} | {"": ""}

    def short(name: str) -> str:
        if name not in names:
            made = _spell(len(names))
            while made in kept:
                made += "_"
            names[name] = made
        return names[name]

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = short(name)
    for value in graph.value_info:
        value.name = short(value.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = short(annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = short(entry.value)


def _spell(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        letters = _DIGITS[digit] + letters
    return letters
