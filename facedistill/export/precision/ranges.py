"""In which range the values of each tensor lie, by several rules of what may be cut off."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization.calibrate import HistogramCollector

from facedistill.errors import ModelFileError
from facedistill.export.precision.activations import read_activations
from facedistill.shown_name import shown_name

Ranges = dict[str, tuple[float, float]]
"""Tensor name -> the smallest and the largest value that 8 bits have to hold."""

METHODS = ("min-max", "entropy", "percentile")

# Of a histogram; half of them lie on either side of 0. Four times the levels of 8 bits would be finer, but onnxruntime
# looks for the best threshold bin by bin, in Python.
BINS = 512
LEVELS = 128
PERCENTILE = 99.99


def measure_ranges(
    model: onnx.ModelProto, names: Sequence[str], images: npt.NDArray[Any], methods: Sequence[str] = METHODS
) -> dict[str, Ranges]:
    """Measure the ranges of tensors by some of `METHODS`.

    "min-max" keeps all values, "percentile" all but the outermost 0.01 %, and "entropy" cuts where the distribution
    loses least information by being rounded (Kullback-Leibler divergence). The last two are onnxruntime's.

    Args:
        model: the float network.
        names: of float32 tensors.
        images: (N, ...) network inputs. They pass the network twice: the histograms need to know where to end.
        methods: which.

    Raises:
        ModelFileError: onnxruntime cannot run the network, or it gives numbers that are not finite.
    """
    extremes: Ranges = {}
    for values in read_activations(model, names, images):
        for name, value in values.items():
            low, high = extremes.get(name, (0.0, 0.0))
            # Zero has to be a level of its own: padding is zero.
            extremes[name] = (min(low, float(value.min(initial=0))), max(high, float(value.max(initial=0))))
    for name, extreme in extremes.items():
        if not np.isfinite(extreme).all():
            raise ModelFileError(f"the network gives values that are not finite ({shown_name(name)})")
    if set(methods) == {"min-max"}:
        return {"min-max": extremes}
    collector = HistogramCollector("entropy", False, BINS, LEVELS, PERCENTILE, "same")
    for values in read_activations(model, names, images):
        for name, value in values.items():
            ends = np.array(extremes[name], dtype=np.float32)
            reach = np.abs(ends).max()
            counts, edges = np.histogram(value, BINS, range=(-reach, reach))
            before = collector.histogram_dict.get(name)
            total = counts if before is None else counts + before[0]
            collector.histogram_dict[name] = (total, edges.astype(np.float32), ends[0], ends[1], reach)
    searches = {"entropy": collector.compute_entropy, "percentile": collector.compute_percentile}
    found: dict[str, Ranges] = {}
    for method in methods:
        if method == "min-max":
            found[method] = extremes
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            cut = searches[method]()
        found[method] = {name: (float(range_[0]), float(range_[1])) for name, range_ in cut.items()}
    return found
