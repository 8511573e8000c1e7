"""The steps from a float network to the one that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import onnx

from facedistill.errors import ModelFileError, UsageError
from facedistill.export.crops import Crops
from facedistill.export.graph import channels_last_input, fuse_prelus, normalise_output, take_pixels
from facedistill.export.options import ExportOptions
from facedistill.export.precision import quantise_static, quantise_weights, to_half
from facedistill.onnx_prelu import expand_prelu
from facedistill.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class Rounded:
    """A network in its precision.

    Attributes:
        network: the network.
        plain: the same in float with the same names inside, to find out what rounding has done.
        quantisation: how it was quantised, JSON-ready; None in fp32 and fp16.
    """

    network: onnx.ModelProto
    plain: onnx.ModelProto
    quantisation: dict[str, Any] | None = None


def in_precision(
    network: onnx.ModelProto,
    options: ExportOptions,
    preprocessing: Preprocessing,
    crops: Crops | None,
    *,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rounded:
    """The network in another precision; `network` itself stays as it is.

    Arguments as of `export_model`; `progress` is called with (layers done, layers) where they are tried one by one.

    Raises:
        UsageError: int8 without crops.
        ModelFileError: PReLUs that cannot be spelled out.
    """
    plain = copied(network)
    if options.precision == "int8":
        if crops is None:
            raise UsageError(
                "int8 needs crops to measure the ranges of activations on",
                next_step="Give --calibration DATA, some hundred aligned crops like those that the model will see; or "
                "use --precision int8-weights, which needs none",
            )
        if note:
            note(f"int8: the ranges of activations are measured on {len(crops.calibration)} crops, which takes a while")
        fuse_prelus(plain)
        inputs = preprocessing.to_numpy(crops.calibration)
        quantised = quantise_static(plain, inputs, note=note, progress=progress)
        how = {"data": crops.name, "crops": len(crops.calibration), **quantised.to_dict()}
        return Rounded(quantised.model, quantised.float_model, how)
    if options.prelu == "operator":
        fuse_prelus(plain)
    elif options.prelu == "spelled-out":
        try:
            expand_prelu(plain)
        except ValueError as error:
            raise ModelFileError(f"its PReLUs cannot be spelled out ({error})") from error
    if options.precision == "fp16":
        return Rounded(to_half(copied(plain)), plain)
    if options.precision == "int8-weights":
        return Rounded(quantise_weights(copied(plain)), plain, {"calibration": None})
    return Rounded(copied(plain), plain)


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
