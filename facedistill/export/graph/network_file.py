"""Read an ONNX file that is to hold an embedding network, and tell what is wrong where it does not."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import external_data_helper, inliner

from facedistill.errors import ModelFileError
from facedistill.export.graph.opset import runs_opset
from facedistill.export.graph.trial import embed, make_noise
from facedistill.export.graph.wiring import every_node, main_opset
from facedistill.onnx_session import open_session
from facedistill.shown_name import shown_name

# What is done about a file of which a part is missing.
_AGAIN = "Export or download it again"


def read_network(path: Path) -> onnx.ModelProto:
    """Read an ONNX file whole, weights that lie in other files included, and try it on noise.

    Functions that the file defines are written out where they are called, and initializers that are listed as inputs
    too, as was the rule up to IR version 3, are taken off the inputs, so that they count as constants.

    Raises:
        ModelFileError: the file is missing, empty or damaged, or weights in a file beside it are; it was written for
            a newer ONNX, or with operators that onnxruntime does not have; it takes anything but one batch of images
            of three colours, or gives anything but one embedding an image as its first output.
    """
    model = _parse(path)
    _load_weights(model, path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _take_constants_off_inputs(model)
    names = [shown_name(value.name) for value in model.graph.input]
    if len(names) != 1:
        raise ModelFileError(
            f"the network takes {len(names)} inputs ({', '.join(names)})" if names else "the network takes no input",
            place=path,
            next_step="A face-embedding network takes one batch of images",
        )
    _check_version(model, path)
    try:
        session = open_session(path, device="cpu")
    except ModelFileError as error:
        missing = _missing_operator(model, str(error))
        if missing is None:
            raise
        raise ModelFileError(
            f"onnxruntime {ort.__version__} has no operator {missing}",
            place=path,
            next_step="Export the network with the operators of ONNX alone",
        ) from error
    batch = session.get_inputs()[0].shape[:1]
    images = make_noise(session, batch[0] if batch and isinstance(batch[0], int) else 1, place=path)
    embed(session, images, place=path)
    return model


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ModelFileError("there is no such ONNX file", place=path)
    if path.stat().st_size == 0:
        raise ModelFileError("the file is empty", place=path, next_step=_AGAIN)
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelFileError(f"the ONNX file cannot be read ({error.strerror})", place=path) from error
    except Exception as error:  # protobuf's own error, whose module depends on its version
        raise ModelFileError("the file is no ONNX file, or a damaged one", place=path, next_step=_AGAIN) from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError("the file holds no network", place=path)
    return model


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Read the tensors that lie in files beside the network's."""
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            location = external_data_helper.ExternalDataInfo(tensor).location
            if not (path.parent / location).is_file():
                raise ModelFileError(
                    f"its weights are in {shown_name(location)}, which is missing",
                    place=path,
                    next_step="Put that file beside it, under that name",
                )
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises kinds of its own, which differ between its versions
        raise ModelFileError(
            f"its weights in another file cannot be read ({error})", place=path, next_step=_AGAIN
        ) from error


def _take_constants_off_inputs(model: onnx.ModelProto) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)


def _check_version(model: onnx.ModelProto, path: Path) -> None:
    opset = main_opset(model)
    if not runs_opset(opset, model.ir_version):
        raise ModelFileError(
            f"the file is written in ONNX operator set {opset} (IR version {model.ir_version}), which is unknown to "
            f"onnx {onnx.__version__} or onnxruntime {ort.__version__}",
            place=path,
            next_step="Install newer ones, or export the network for an older operator set",
        )


def _missing_operator(model: onnx.ModelProto, message: str) -> str | None:
    """The first operator that is none of ONNX's and that onnxruntime's message names."""
    for node in every_node(model.graph):
        if not onnx.defs.has(node.op_type, node.domain) and node.op_type in message:
            return shown_name(f"{node.domain}:{node.op_type}" if node.domain else node.op_type)
    return None
