"""Operators that do one thing in training and another one after."""

from __future__ import annotations

import onnx
from onnx import helper

from facedistill.errors import GateError
from facedistill.export.graph.constants import Constants
from facedistill.export.graph.wiring import describe_node, every_node, main_opset


def in_training_mode(node: onnx.NodeProto, opset: int, constants: Constants) -> bool:
    """Whether a node is a BatchNormalization or a Dropout that works as in training, or may do so.

    ONNX has said it in three ways: by the attribute `is_test` up to operator set 6, by further outputs of the batch
    norm up to 13, and since then by the attribute `training_mode`, of Dropout by its third input since 12.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("BatchNormalization", "Dropout"):
        return False
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if opset < 7:
        return not attributes.get("is_test", 0)
    if node.op_type == "BatchNormalization":
        return bool(attributes.get("training_mode", 0)) if opset >= 14 else any(node.output[1:])
    if opset < 12 or len(node.input) < 3 or not node.input[2]:
        return False
    mode = constants.get(node.input[2])
    return mode is None or bool(mode.any())


def refuse_training_mode(model: onnx.ModelProto) -> None:
    """GateError naming the first node, at any depth, that works as in training."""
    constants, opset = Constants(model), main_opset(model)
    for node in every_node(model.graph):
        if in_training_mode(node, opset, constants):
            raise GateError(
                f"{describe_node(node)} is in training mode, so that the network is another one than was evaluated",
                next_step="Put the model into evaluation mode before it is exported",
            )
