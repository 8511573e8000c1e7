"""Which layer of a network is the first that does not do what it did."""

from __future__ import annotations

import onnx

from facedistill.errors import ModelFileError
from facedistill.export.crops import Crops, noise
from facedistill.export.precision import layer_errors
from facedistill.preprocessing import Preprocessing

ALIKE = 0.99
"""The cosine below which the values of a layer are called different."""


def first_difference(
    before: onnx.ModelProto, after: onnx.ModelProto, preprocessing: Preprocessing, crops: Crops | None
) -> str:
    """In words, the first layer whose values differ between two networks that are meant to do the same.

    Args:
        before: the network as it was.
        after: as it is now, with the same names.
        preprocessing: of both.
        crops: to look at; random pixels where there are none.
    """
    images = noise(preprocessing.size, 8) if crops is None else crops.held_out[:8]
    try:
        errors = layer_errors(before, after, preprocessing.to_numpy(images))
    except ModelFileError as error:
        return f"its layers cannot be compared ({error.cause})"
    different = [(name, cosine) for name, cosine in errors if not cosine >= ALIKE]
    if not errors:
        return "no layer has the same name in both, so that none can be compared"
    if not different:
        name, cosine = min(errors, key=lambda each: each[1])
        return f"no single layer stands out (the furthest from before is '{name}', cosine {cosine:.4f})"
    name, cosine = different[0]
    return f"the first layer that differs is '{name}' (cosine {cosine:.4f}; {len(different)} of {len(errors)} do)"
