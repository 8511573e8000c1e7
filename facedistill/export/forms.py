"""The steps from a float network to the one that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import onnx

from facedistill.errors import UsageError
from facedistill.export.crops import Crops
from facedistill.export.graph import channels_last_input, normalise_output, take_pixels
from facedistill.export.options import ExportOptions
from facedistill.export.precision import quantise_static, quantise_weights, to_half
from facedistill.preprocessing import Preprocessing


def in_precision(
    network: onnx.ModelProto,
    options: ExportOptions,
    preprocessing: Preprocessing,
    crops: Crops | None,
    *,
    note: Callable[[str], None] | None = None,
) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """The network in another precision, and how it was quantised; `network` itself stays as it is.

    Raises:
        UsageError: int8 without crops.
    """
    if options.precision == "fp32":
        return copied(network), None
    if options.precision == "fp16":
        return to_half(copied(network)), None
    if options.precision == "int8-weights":
        return quantise_weights(copied(network)), {"calibration": None}
    if crops is None:
        raise UsageError(
            "int8 needs crops to measure the ranges of activations on",
            next_step="Give --calibration DATA, some hundred aligned crops like those that the model will see; or use "
            "--precision int8-weights, which needs none",
        )
    quantised = quantise_static(copied(network), preprocessing.to_numpy(crops.calibration), note=note)
    return quantised.model, {"data": crops.name, "crops": len(crops.calibration), **quantised.to_dict()}


def give_form(network: onnx.ModelProto, options: ExportOptions, preprocessing: Preprocessing) -> Preprocessing:
    """Change what the network takes and gives, in place; gives what it then expects of its input.

    Raises:
        UsageError: a layout that the network can't be turned to.
    """
    if options.normalise:
        normalise_output(network)
    if options.input == "uint8-rgb":
        take_pixels(network, preprocessing)
        return replace(preprocessing, layout="nhwc")
    if options.layout in (None, preprocessing.layout):
        return preprocessing
    if options.layout == "nchw":
        raise UsageError(
            "the network takes (N, S, S, 3) and is not turned to (N, 3, S, S)",
            place="--layout",
            next_step="Leave it out, or export from the file that takes (N, 3, S, S)",
        )
    channels_last_input(network)
    return replace(preprocessing, layout="nhwc")


def copied(network: onnx.ModelProto) -> onnx.ModelProto:
    """Another network of the same content."""
    twin = onnx.ModelProto()
    twin.CopyFrom(network)
    return twin
