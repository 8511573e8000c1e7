"""An ONNX network in another precision, one way a file."""

from facedistill.export.precision.calibration import CalibrationBatches, choose_calibration
from facedistill.export.precision.equalisation import equalise
from facedistill.export.precision.half import to_half
from facedistill.export.precision.int8 import quantise_static
from facedistill.export.precision.layer_errors import layer_errors
from facedistill.export.precision.quantised import Int8Options, Quantised
from facedistill.export.precision.weights_only import quantise_weights

__all__ = [
    "CalibrationBatches",
    "Int8Options",
    "Quantised",
    "choose_calibration",
    "equalise",
    "layer_errors",
    "quantise_static",
    "quantise_weights",
    "to_half",
]
