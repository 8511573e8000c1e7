"""The version of ONNX's operators that a network is written in."""

from __future__ import annotations

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from facedistill.errors import GateError, ModelFileError, UsageError
from facedistill.export.graph.constants import Constants
from facedistill.export.graph.trial import embed, largest_difference, make_noise, open_network
from facedistill.export.graph.wiring import main_opset

SMALLEST_OPSET = 7
"""The oldest that onnxruntime promises to run."""

AGREEMENT = 1e-4
"""How far unit embeddings may move when a network is written in other operators."""

# Holds operators, while others are converted, that mean the same in both versions.
_UNCHANGED = "facedistill.unchanged"


def runs_opset(opset: int, ir_version: int | None = None) -> bool:
    """Whether the installed onnx and onnxruntime know an operator set, and an IR version with it."""
    if opset > onnx.defs.onnx_opset_version() or (ir_version or 0) > onnx.IR_VERSION:
        return False
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "smallest", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", opset)]
    least = helper.find_min_ir_version_for(imports)
    try:
        open_network(helper.make_model(graph, opset_imports=imports, ir_version=ir_version or least))
    except ModelFileError:
        return False
    return True


def largest_opset() -> int:
    """The newest operator set that the installed onnx and onnxruntime know."""
    newest: int = onnx.defs.onnx_opset_version()
    return next(opset for opset in range(newest, 0, -1) if runs_opset(opset))


def convert_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The network in another version of ONNX's operators, its metadata kept.

    onnx's converter does it. It gives up at operators for which it has no rule, even where only element types were
    added to them; those that stand in both versions as they are, inputs, outputs and attributes, are kept from it.
    What comes out has to pass onnx's checker and to give the same embeddings for noise.

    Args:
        model: a network that onnxruntime runs.
        opset: from 7 to the newest that the installed onnx and onnxruntime know.

    Raises:
        UsageError: another `opset`.
        ModelFileError: the network has an operator that cannot be converted.
        GateError: the converted network is invalid, or gives other embeddings.
    """
    newest = largest_opset()
    if not SMALLEST_OPSET <= opset <= newest:
        raise UsageError(
            f"the operator set is {opset}",
            next_step=f"onnxruntime {ort.__version__} and onnx {onnx.__version__} know {SMALLEST_OPSET} to {newest}",
        )
    before = main_opset(model)
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    if opset == before:
        return converted
    constants = Constants(converted)
    converted.opset_import.append(helper.make_opsetid(_UNCHANGED, 1))
    for node in converted.graph.node:
        if node.domain in ("", "ai.onnx"):
            _drop_idle_attributes(node, before, opset, constants)
            if _means_the_same(node, before, opset):
                node.domain = _UNCHANGED
    try:
        converted = onnx.version_converter.convert_version(converted, opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelFileError(
            f"the network cannot be written in operator set {opset} ({_reason(error)})",
            next_step=f"Keep its own operator set, {before}, or ask for one nearer to it",
        ) from error
    for node in converted.graph.node:
        if node.domain == _UNCHANGED:
            node.domain = ""
    imports = [entry for entry in converted.opset_import if entry.domain != _UNCHANGED]
    del converted.opset_import[:]
    converted.opset_import.extend(imports)
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    least = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    # A program that knows no newer operators knows no newer files either; before 4, weights would have to be inputs.
    converted.ir_version = max(4, least) if opset < before else max(model.ir_version, least)
    _require_agreement(model, converted, opset)
    return converted


def _drop_idle_attributes(node: onnx.NodeProto, first: int, second: int, constants: Constants) -> None:
    """Take off attributes that the second operator set does not know and that say what holds without them."""
    before, after = _schema(node, first), _schema(node, second)
    if before is None or after is None:
        return
    for index in reversed(range(len(node.attribute))):
        name = node.attribute[index].name
        if name in after.attributes or name not in before.attributes:
            continue
        default = before.attributes[name].default_value
        idle = default.name != "" and helper.get_attribute_value(default) == helper.get_attribute_value(
            node.attribute[index]
        )
        if name == "allowzero":  # torch writes it at every Reshape; it is about zeros in the shape
            shape = constants.get(node.input[1])
            idle |= shape is not None and bool(shape.all())
        if idle:
            del node.attribute[index]


def _means_the_same(node: onnx.NodeProto, first: int, second: int) -> bool:
    """Whether a node may stand as it is in both operator sets: what it has of inputs and attributes, both know."""
    before, after = _schema(node, first), _schema(node, second)
    if before is None or after is None:
        return False
    if not (after.min_input <= len(node.input) <= after.max_input) or len(node.output) > after.max_output:
        return False
    used = {attribute.name for attribute in node.attribute}
    if used - set(after.attributes) or {name for name, each in after.attributes.items() if each.required} - used:
        return False
    return all(
        before.attributes[name].default_value == after.attributes[name].default_value
        for name in set(before.attributes) & set(after.attributes)
    )


def _schema(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


def _reason(error: Exception) -> str:
    """The last words of the converter's message, which begins with a place in its source."""
    return str(error).rsplit("failed: ", 1)[-1].strip()


def _require_agreement(model: onnx.ModelProto, converted: onnx.ModelProto, opset: int) -> None:
    try:
        onnx.checker.check_model(converted, full_check=True)
        sessions = open_network(model), open_network(converted)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ModelFileError) as error:
        raise GateError(f"the network is invalid in operator set {opset} ({error})") from error
    fixed = sessions[0].get_inputs()[0].shape[0]
    images = make_noise(sessions[0], fixed if isinstance(fixed, int) else 2)
    difference = largest_difference(*(embed(session, images) for session in sessions))
    if not difference <= AGREEMENT:  # written so that a NaN fails too
        raise GateError(
            f"in operator set {opset} the unit embeddings differ by {difference:.1e} (limit {AGREEMENT:.0e})"
        )
