"""Let a network that was exported for one batch size take any."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from facedistill.errors import ModelFileError
from facedistill.export.graph.constants import Constants
from facedistill.export.graph.image_input import find_input
from facedistill.export.graph.tensor_types import infer_types
from facedistill.export.graph.training_mode import refuse_training_mode
from facedistill.export.graph.trial import embed, largest_difference, make_noise, open_network
from facedistill.export.graph.wiring import remove_unread

TRIED_BATCHES = (1, 2, 5)
"""Batch sizes at which a network is run."""

AGREEMENT = 1e-4
"""How far an image's unit embedding may move with the batch that it is in."""


def free_batch_axis(model: onnx.ModelProto) -> bool:
    """Make, in place, a fixed first axis of the input and of the outputs dynamic; returns whether anything changed.

    An exporter that has seen one batch size writes it into the input's shape, and often into the shapes that
    tensors are given on the way too, where a network with a repainted input stumbles over it. Such constant shapes
    get a free first axis. The network is then run at batches of 1, 2 and 5, and has to give the embeddings that it
    gave at its own batch size. A network that runs at these already stays as it is.

    Raises:
        GateError: a node is in training mode, so that no image has an embedding of its own.
        ModelFileError: the network doesn't run at all of these batch sizes even so, or an image's embedding depends on
            the others of its batch.
    """
    fixed = fixed_batch(model)
    session = open_network(model)
    images = make_noise(session, max(TRIED_BATCHES))
    if fixed is None and _runs(session, images):
        return _repaint(model)
    refuse_training_mode(model)
    expected = _embed_in_pieces(session, images, fixed or 1)
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    _free(freed, fixed or 1)
    try:
        session = open_network(freed)
        for batch in TRIED_BATCHES:
            difference = largest_difference(embed(session, images[:batch]), expected[:batch])
            if not difference <= AGREEMENT:  # written so that a NaN fails too
                raise ModelFileError(f"at batch {batch} the unit embeddings differ by {difference:.1e}")
    except ModelFileError as error:
        raise ModelFileError(
            f"the network is made for a batch of {fixed or 1} and cannot be freed of it ({error.cause})",
            next_step="Export it again with a dynamic batch",
        ) from error
    model.CopyFrom(freed)
    return True


def fixed_batch(model: onnx.ModelProto) -> int | None:
    """The batch size that the input's shape states, None where it is dynamic."""
    first = find_input(model).type.tensor_type.shape.dim[0]
    return int(first.dim_value) if first.HasField("dim_value") else None


def fixed_shapes(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, npt.NDArray[np.int64]]]:
    """The nodes that give what comes of the images a constant shape with a size for its first axis, and that shape."""
    constants = Constants(model)
    of_images = {find_input(model).name}
    found = []
    for node in model.graph.node:
        if of_images.isdisjoint(node.input):
            continue
        of_images.update(name for name in node.output if name)
        if node.op_type in ("Reshape", "Expand") and not node.domain and len(node.input) == 2:
            shape = constants.get(node.input[1])
            if node.input[0] in of_images and shape is not None and shape.size and shape[0] > 0:
                found.append((node, shape))
    return found


def _runs(session: ort.InferenceSession, images: npt.NDArray[Any]) -> bool:
    try:
        for batch in TRIED_BATCHES:
            embed(session, images[:batch])
    except ModelFileError:
        return False
    return True


def _embed_in_pieces(session: ort.InferenceSession, images: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Embeddings of images that are run `size` at a time, the last piece filled up with its own first image."""
    rows = []
    for start in range(0, len(images), size):
        piece = images[start : start + size]
        full = np.concatenate([piece, np.repeat(piece[:1], size - len(piece), axis=0)])
        rows.append(embed(session, full)[: len(piece)])
    return np.concatenate(rows)


def _free(model: onnx.ModelProto, size: int) -> None:
    graph = model.graph
    constants, types = Constants(model), infer_types(model)
    replaced = []
    for node, shape in fixed_shapes(model):
        kind = types.get(node.output[0])
        free = _free_shape(node, shape, size, kind.shape if kind else None)
        if free is not None:
            replaced.append(node.input[1])
            node.input[1] = constants.add(f"{node.output[0]}_shape", free)
    remove_unread(graph, replaced)
    _repaint(model)
    # What is stated of the tensors between holds for the old size.
    del graph.value_info[:]


def _repaint(model: onnx.ModelProto) -> bool:
    """Call the first axes of the input and the outputs by one name; whether one of them stated a size."""
    name = find_input(model).type.tensor_type.shape.dim[0].dim_param or "batch"
    stated = False
    for value in (find_input(model), *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_param:
            stated |= dims[0].HasField("dim_value")
            dims[0].dim_param = name
    return stated


def _free_shape(
    node: onnx.NodeProto, shape: npt.NDArray[np.int64], size: int, result: tuple[int | None, ...] | None
) -> npt.NDArray[np.int64] | None:
    """The constant shape with a first axis that follows the batch; None where it shows no way to do so."""
    free = shape.copy()
    if node.op_type == "Expand":
        free[0] = 1  # leaves the axis as it is
        return free if shape[0] == size > 1 else None
    sizes = [each for each in result or () if each is not None]
    if len(sizes) == len(free):
        free[:] = sizes
    if not (free[1:] == -1).any():
        free[0] = -1  # the size that is left, even where other axes are merged into the first
        return free
    allow_zero = [index for index, each in enumerate(node.attribute) if each.name == "allowzero" and each.i]
    if shape[0] != size or (allow_zero and not shape.all()):
        return None
    for index in allow_zero:
        del node.attribute[index]
    free[0] = 0  # the size that the axis had
    return free
