"""Let a network take the pixels themselves."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from facedistill.errors import ModelFileError, PreprocessingMismatchError
from facedistill.export.graph.constants import Constants
from facedistill.export.graph.image_input import Step, find_input, find_layout, put_before
from facedistill.preprocessing import Preprocessing


def take_pixels(model: onnx.ModelProto, preprocessing: Preprocessing) -> None:
    """Put the preprocessing into the network, in place: its input becomes uint8 RGB (N, S, S, 3).

    Colour order, mean, standard deviation and layout are operators at its beginning then, which compute in float32
    what `Preprocessing.to_numpy` computes, to the bit; an application hands over crops and can get none of it wrong.

    Args:
        model: a network whose input is float32 or float16.
        preprocessing: what that input expects; S is its size.

    Raises:
        ModelFileError: the input is of another type: it takes pixels already, for example.
        PreprocessingMismatchError: the input has another layout or size than the preprocessing.
    """
    value = find_input(model)
    element = value.type.tensor_type.elem_type
    if element not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        name = TensorProto.DataType.Name(element).lower()
        raise ModelFileError(f"the network's input is {name}, so it takes no preprocessed images")
    layout, side = find_layout(value)
    size = preprocessing.size
    if layout != preprocessing.layout or side not in (None, size):
        raise PreprocessingMismatchError(
            f"the network takes {layout} {side or 'of any size'} and its preprocessing says "
            f"{preprocessing.layout} {size}"
        )
    constants = Constants(model)
    steps = [Step("Cast", attributes={"to": TensorProto.FLOAT})]
    if preprocessing.color == "bgr":
        turned = constants.add(f"{value.name}_bgr", np.array([2, 1, 0], dtype=np.int64))
        steps.append(Step("Gather", (turned,), {"axis": 3}))
    for operator, number in (("Sub", preprocessing.mean), ("Div", preprocessing.std)):
        name = constants.add(f"{value.name}_{'mean' if operator == 'Sub' else 'std'}", np.array([number], np.float32))
        steps.append(Step(operator, (name,)))
    if layout == "nchw":
        steps.append(Step("Transpose", attributes={"perm": [0, 3, 1, 2]}))
    if element == TensorProto.FLOAT16:
        steps.append(Step("Cast", attributes={"to": TensorProto.FLOAT16}))
    put_before(model, steps, TensorProto.UINT8, (size, size, 3))
