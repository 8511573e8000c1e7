from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from facedistill.export.graph.wiring import count_readers, describe_node, every_node, remove_unread, rename_reads

from .made_networks import network, node, operators


def branching() -> onnx.ModelProto:
    """One branch reads a; the other gives b, which it doesn't compute."""
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("o", "b")]
    then_branch = helper.make_graph([node("Add", "a w", "o")], "then", [], outputs[:1])
    else_branch = helper.make_graph([], "else", [], outputs[1:])
    choice = node("If", "yes", "y", then_branch=then_branch, else_branch=else_branch)
    nodes = [node("Relu", "x", "a"), node("Neg", "x", "b"), node("Abs", "x", "z"), node("Exp", "z", "zz"), choice]
    return network(nodes, {"w": 1.0, "yes": np.array(True)}, given={"y": ("n", 3, 8, 8)})


def test_readers_in_branches_count() -> None:
    graph = branching().graph
    readers = count_readers(graph)
    assert {name: readers[name] for name in ("x", "a", "b", "w", "y", "zz")} == {
        "x": 3, "a": 1, "b": 1, "w": 1, "y": 1, "zz": 0,
    }  # fmt: skip
    assert [each.op_type for each in every_node(graph)] == ["Relu", "Neg", "Abs", "Exp", "If", "Add"]


def test_reads_in_branches_are_renamed() -> None:
    graph = branching().graph
    rename_reads(graph, "a", "b")
    readers = count_readers(graph)
    assert (readers["a"], readers["b"]) == (0, 2)


def test_only_what_nobody_reads_goes_and_only_where_asked() -> None:
    model = branching()
    remove_unread(model.graph, ["a", "b", "w", "y", "x"])
    assert len(model.graph.node) == 5
    remove_unread(model.graph, ["zz", "nowhere"])
    assert operators(model) == {"Relu": 1, "Neg": 1, "If": 1}
    assert [value.name for value in model.graph.input] == ["x"]


def test_a_node_of_which_one_output_is_read_stays() -> None:
    nodes = [node("Split", "x", "p q", axis=3), node("Relu", "p", "y"), node("Exp", "q", "r")]
    model = network(nodes, {}, given={"y": ("n", 3, 8, 4)}, opset=13)
    remove_unread(model.graph, ["r"])
    assert operators(model) == {"Split": 1, "Relu": 1}


def test_a_node_is_called_by_its_name_or_by_what_it_writes() -> None:
    assert describe_node(node("Relu", "x", "y", name="act")) == "the Relu act"
    assert describe_node(node("Relu", "x", "y\x1b[2J")) == "the Relu y\\x1b[2J"
