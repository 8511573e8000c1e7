"""Who reads and who writes what in an ONNX graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from facedistill.shown_name import shown_name


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside them (branches and loops)."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from every_node(inner)


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The branches or the loop body that a node holds."""
    held = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return [graph for graph in held if graph.node or graph.output]


def count_readers(graph: onnx.GraphProto) -> Counter[str]:
    """Tensor name -> how often it is read: by nodes at any depth, and as an output."""
    readers = Counter(output.name for output in graph.output)
    for node in every_node(graph):
        readers.update(node.input)
        readers.update(output.name for inner in inner_graphs(node) for output in inner.output)
    return readers


def find_writers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Tensor name -> the node of the outermost graph that writes it."""
    return {name: node for node in graph.node for name in node.output if name}


def rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node, at any depth, that reads the tensor `old` read `new`."""
    for node in every_node(graph):
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def fresh_name(graph: onnx.GraphProto, wish: str) -> str:
    """`wish`, with a number behind it where a tensor or a node is called so already."""
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in every_node(graph):
        taken.update((node.name, *node.input, *node.output))
    name, number = wish, 1
    while name in taken:
        name, number = f"{wish}_{number}", number + 1
    return name


def remove_unread(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Take out those of these tensors that nobody reads any more, with their nodes and what only those read."""
    readers = count_readers(graph)
    writers = find_writers(graph)
    waiting = [name for name in names if not readers[name]]
    gone: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = writers.get(name)
        if name in gone or (node is not None and any(readers[each] for each in node.output)):
            continue
        gone.add(name)
        if node is None or inner_graphs(node):
            continue
        gone.update(node.output)
        readers.subtract(node.input)
        waiting += [each for each in node.input if each and not readers[each]]
    inputs = {value.name for value in graph.input}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.output and not inner_graphs(node) and all(name in gone or not name for name in node.output):
            del graph.node[index]
    for values in (graph.initializer, graph.value_info):
        for index in reversed(range(len(values))):
            if values[index].name in gone and values[index].name not in inputs:
                del values[index]


def main_opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the network is written in."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def describe_node(node: onnx.NodeProto) -> str:
    """A node as a message names it: its operator, and its name or else what it writes."""
    return f"the {node.op_type} {shown_name(node.name or next(iter(node.output), ''))}"
