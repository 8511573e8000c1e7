"""Let a network take images with the colours last."""

from __future__ import annotations

import onnx

from facedistill.export.graph.image_input import Step, find_input, find_layout, put_before, sides_of


def channels_last_input(model: onnx.ModelProto) -> None:
    """Let, in place, a network that takes (N, 3, S, S) take (N, S, S, 3); one that does so already stays as it is.

    Raises:
        ModelFileError: the input is no batch of images.
    """
    value = find_input(model)
    layout, _ = find_layout(value)
    if layout == "nchw":
        colors, height, width = sides_of(value)
        step = Step("Transpose", attributes={"perm": [0, 3, 1, 2]})
        put_before(model, [step], value.type.tensor_type.elem_type, (height, width, colors))
