"""How a network is quantised to 8 bits, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from facedistill.counted import counted
from facedistill.errors import UsageError
from facedistill.export.precision.ranges import METHODS


@dataclass(frozen=True)
class Int8Options:
    """How a network is quantised.

    Args:
        target: mean cosine between the embeddings of held-out images in float and in 8 bits; layers are left in
            float until it is met.
        first_and_last_float: leave the first and the last layer with weights in float. The last one's weights are
            stored in 8 bits all the same where that costs next to nothing.
        equalise: give channels like ranges first.
        methods: of `METHODS`, how ranges are chosen; each is tried.

    Raises:
        UsageError: a target that is no cosine, or an unknown method.
    """

    target: float = 0.99
    first_and_last_float: bool = True
    equalise: bool = True
    methods: tuple[str, ...] = METHODS

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise UsageError(f"the target is a cosine of {self.target}", next_step="Use a number between 0 and 1")
        if not self.methods or set(self.methods) - set(METHODS):
            raise UsageError(f"the calibration methods are {self.methods}", next_step=f"Known: {', '.join(METHODS)}")


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised network and how it came about.

    Attributes:
        model: the network, in QDQ form; float32 input and output, names and metadata as before.
        float_model: the float network that was quantised, equalised and with the same names inside, for `layer_errors`.
        method: how the ranges of activations were chosen.
        cosines: method -> mean cosine to the float network on the held-out images, all layers in 8 bits that were
            not excluded from the start.
        cosine: the mean of the result.
        lowest_cosine: the lowest of the result.
        quantised_layers: layers with weights that compute in 8 bits.
        excluded: those left in float from the start.
        sensitive: layer -> 1 - cosine where it alone is quantised, for layers left in float because of that.
        equalised: pairs of convolutions whose channels were given like ranges.
        calibrated_on: images that the ranges were measured on.
        held_out: others, that the cosines are of.
    """

    model: onnx.ModelProto
    float_model: onnx.ModelProto
    method: str
    cosines: dict[str, float]
    cosine: float
    lowest_cosine: float
    quantised_layers: int
    excluded: tuple[str, ...]
    sensitive: dict[str, float]
    equalised: int
    calibrated_on: int
    held_out: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the networks."""
        return {
            "method": self.method,
            "cosines": dict(self.cosines),
            "cosine": self.cosine,
            "lowest_cosine": self.lowest_cosine,
            "quantised_layers": self.quantised_layers,
            "excluded_layers": list(self.excluded),
            "sensitive_layers": dict(self.sensitive),
            "equalised_pairs": self.equalised,
            "calibrated_on": self.calibrated_on,
            "held_out": self.held_out,
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print."""
        tried = ", ".join(f"{method} {cosine:.4f}" for method, cosine in self.cosines.items())
        sensitive = ", ".join(f"{name} ({error:.4f})" for name, error in self.sensitive.items())
        return ("int8", "value"), [
            ("calibration", f"{self.method}, on {counted(self.calibrated_on, 'image', 'images')}"),
            ("mean cosine by method", tried),
            ("cosine on held-out images", f"{self.cosine:.4f} (lowest {self.lowest_cosine:.4f})"),
            ("layers in 8 bits", str(self.quantised_layers)),
            ("layers in float by choice", ", ".join(self.excluded) or "none"),
            ("layers in float by error", sensitive or "none"),
        ]
