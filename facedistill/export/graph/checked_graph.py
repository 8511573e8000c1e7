"""Refuse a network that would not run, or not be the same, where it is used."""

from __future__ import annotations

import onnx

from facedistill.errors import GateError, ModelFileError
from facedistill.export.graph.batch_axis import TRIED_BATCHES, fixed_batch, fixed_shapes
from facedistill.export.graph.training_mode import refuse_training_mode
from facedistill.export.graph.trial import embed, make_noise, open_network
from facedistill.export.graph.wiring import describe_node


def check_graph(model: onnx.ModelProto) -> None:
    """Refuse an invalid graph, nodes in training mode and a fixed batch.

    The batch is tried, not only read: an input whose shape says that the batch is dynamic may lead to a node that
    takes one size.

    Raises:
        GateError: what is wrong, with the node it is wrong at where it is one.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GateError(f"the graph is no valid ONNX ({error})") from error
    refuse_training_mode(model)
    fixed = fixed_batch(model)
    if fixed is not None:
        raise GateError(f"the batch axis of the network's input is fixed at {fixed}")
    for output in model.graph.output[:1]:
        dims = output.type.tensor_type.shape.dim
        if dims and dims[0].HasField("dim_value"):
            raise GateError(f"the batch axis of the network's output is fixed at {dims[0].dim_value}")
    try:
        session = open_network(model)
        images = make_noise(session, max(TRIED_BATCHES))
    except ModelFileError as error:
        raise GateError(f"the graph is no embedding network ({error.cause})") from error
    for batch in TRIED_BATCHES:
        try:
            embed(session, images[:batch])
        except ModelFileError as error:
            suspects = [describe_node(node) for node, _ in fixed_shapes(model)]
            at = f", perhaps for {suspects[0]}, whose shape is fixed" if suspects else ""
            raise GateError(f"the network does not run at batch {batch}{at} ({error.cause})") from error
