"""What may be chosen of an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from facedistill.errors import UsageError, unknown_name
from facedistill.export.trace import OPSET
from facedistill.preprocessing import Layout

Precision = Literal["fp32", "fp16", "int8", "int8-weights"]
InputForm = Literal["float", "uint8-rgb"]
PreluForm = Literal["operator", "spelled-out"]

# Below 13 a quantised weight has one scale, and not one a channel.
LOWEST_OPSET = 13


@dataclass(frozen=True)
class ExportOptions:
    """The form of an exported file.

    Args:
        precision: "fp32"; "fp16", weights and activations in half precision; "int8", both in 8 bits, calibrated on
            crops; "int8-weights", weights in 8 bits and activations in float.
        input: "float", what the preprocessing gives; "uint8-rgb", the pixels of an RGB crop (N, S, S, 3) as they are,
            with the preprocessing inside the file.
        layout: "nchw" or "nhwc" of a float input; None as the source has it.
        normalise: whether the file gives embeddings of length 1.
        opset: ONNX operator set, 13 or later.
        prelu: "operator", which other runtimes want, or "spelled-out" as Mul, Relu and Add, with which onnxruntime is
            faster on a CPU; None as the source has it. In int8 it has a form of its own.

    Raises:
        UsageError: an unknown word, an opset that is too old, or options that exclude one another.
    """

    precision: Precision = "fp32"
    input: InputForm = "float"
    layout: Layout | None = None
    normalise: bool = False
    opset: int = OPSET
    prelu: PreluForm | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", self.precision, get_args(Precision))
        if self.input not in get_args(InputForm):
            raise unknown_name("form of the input", self.input, get_args(InputForm))
        if self.layout not in (None, *get_args(Layout)):
            raise unknown_name("layout", str(self.layout), get_args(Layout))
        if self.layout == "nchw" and self.input == "uint8-rgb":
            raise UsageError("pixels come as (N, S, S, 3)", place="--layout", next_step="Leave it out, or say nhwc")
        if self.prelu not in (None, *get_args(PreluForm)):
            raise unknown_name("form of PReLUs", str(self.prelu), get_args(PreluForm))
        if self.prelu is not None and self.precision == "int8":
            raise UsageError("in int8 PReLUs have a form of their own", place="--prelu", next_step="Leave it out")
        if self.opset < LOWEST_OPSET:
            raise UsageError(
                f"opset {self.opset} is too old", place="--opset", next_step=f"Use {LOWEST_OPSET} or later"
            )
