"""Static quantisation to 8 bits, with as few layers left in float as the embeddings allow."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import onnx

from facedistill.counted import counted
from facedistill.errors import DataError
from facedistill.export.precision.activations import cosines, embed
from facedistill.export.precision.equalisation import equalise
from facedistill.export.precision.integer_prelu import share_ranges, split_prelus
from facedistill.export.precision.prepared import prepare
from facedistill.export.precision.qdq import find_blocks, flowing_tensors, quantise_nodes
from facedistill.export.precision.quantised import Int8Options, Quantised
from facedistill.export.precision.ranges import measure_ranges
from facedistill.export.precision.weights_only import quantise_weights

FEWEST_IMAGES = 8

# Of the images, every fifth and at most 64 are held out to judge by, and 16 of those to compare layers by.
HELD_OUT_EVERY = 5
MOST_HELD_OUT = 64
COMPARED = 16

# Images to measure the ranges of single channels on.
EQUALISED_ON = 64

# By how much the mean cosine may fall for storing the weights of the last layer, the largest of a small network.
LAST_LAYER_COST = 0.001


def quantise_static(
    model: onnx.ModelProto,
    images: npt.NDArray[np.float32],
    *,
    options: Int8Options | None = None,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Quantised:
    """Quantise weights and activations of a network to 8 bits (onnxruntime's QDQ form, one scale an output channel).

    Activations become uint8 and weights int8, which is what x86 processors multiply fastest. Channels are equalised,
    PReLUs computed on integers, and the ranges of activations chosen by each method in turn; the one whose embeddings
    stay closest to the float ones is kept. Where that misses the target, every layer is quantised by itself to see
    what it costs, and the most costly ones, with the nodes that follow them, are left in float: as few as it takes.

    Args:
        model: a float network (N, ...) -> (N, D); batch norms folded and PReLUs fused where that can be. It stays
            as it is.
        images: (N, ...) float32 network inputs of many people, at least 8; every fifth is held out to judge by.
        options: how; as they come where None.
        note: receives one line about each thing that was chosen.
        progress: called with (layers tried, layers) while layers are quantised one by one.

    Raises:
        DataError: fewer than 8 images.
        ModelFileError: the network has no layer to quantise, cannot be run, or is not taken by onnxruntime.
    """
    options = options or Int8Options()
    note = note or _ignore
    if len(images) < FEWEST_IMAGES:
        raise DataError(
            f"{counted(len(images), 'image is', 'images are')} too few to calibrate on",
            next_step=f"Give {FEWEST_IMAGES} or more, better some hundred",
        )
    held_out = images[::HELD_OUT_EVERY][:MOST_HELD_OUT]
    # What is held out beyond the most that are looked at is calibrated on.
    calibration = np.delete(images, np.arange(len(held_out)) * HELD_OUT_EVERY, axis=0)
    work = _Work(model, calibration, held_out, options)
    found = {method: work.mean_cosine(work.quantise(method)) for method in options.methods}
    method = max(found, key=lambda each: found[each])
    tried = ", ".join(f"{each} {cosine:.4f}" for each, cosine in found.items())
    note(f"int8: ranges by {method} follow the float network best (mean cosine: {tried})")
    costs: dict[str, float] = {}
    if not found[method] >= options.target:
        costs = work.find_sensitive(method, options.target, progress)
        note(
            f"int8: {counted(len(costs), 'layer is', 'layers are')} left in float so that the mean cosine reaches "
            f"{options.target:g}: {', '.join(costs)}"
        )
    result = work.with_last_weights(work.quantise(method, costs))
    final = cosines(work.reference, embed(result, held_out))
    return Quantised(
        model=result,
        float_model=work.float_model,
        method=method,
        cosines=found,
        cosine=float(final.mean()),
        lowest_cosine=float(final.min()),
        quantised_layers=len(work.blocks) - len(work.excluded | costs.keys()),
        excluded=tuple(sorted(work.excluded, key=list(work.blocks).index)),
        sensitive=costs,
        equalised=work.equalised,
        calibrated_on=len(calibration),
        held_out=len(held_out),
    )


class _Work:
    """A network on its way to 8 bits: what to quantise, the ranges, and how to judge the result."""

    def __init__(
        self,
        model: onnx.ModelProto,
        calibration: npt.NDArray[np.float32],
        held_out: npt.NDArray[np.float32],
        options: Int8Options,
    ) -> None:
        self.held_out = held_out
        self.reference = embed(model, held_out)
        self.float_model = prepare(model)
        self.equalised = equalise(self.float_model, calibration[:EQUALISED_ON]) if options.equalise else 0
        splits = split_prelus(self.float_model)
        self.blocks = find_blocks(self.float_model)
        layers = list(self.blocks)
        # Of these the layers alone stay in float, not the nodes that follow them.
        self.excluded = {layers[0], layers[-1]} if options.first_and_last_float and len(layers) > 2 else set()
        tensors = flowing_tensors(self.float_model, [name for block in self.blocks.values() for name in block])
        measured = measure_ranges(self.float_model, tensors, calibration, options.methods)
        self.ranges = {method: share_ranges(ranges, splits) for method, ranges in measured.items()}

    def quantise(self, method: str, left_out: Collection[str] = ()) -> onnx.ModelProto:
        """Everything in 8 bits but the blocks of these layers and what is excluded anyway."""
        nodes = [name for layer, block in self.blocks.items() if layer not in left_out for name in block]
        return quantise_nodes(
            self.float_model, self.ranges[method], [name for name in nodes if name not in self.excluded]
        )

    def mean_cosine(self, network: onnx.ModelProto, images: int | None = None) -> float:
        """Between the embeddings of held-out images and the float network's."""
        return float(cosines(self.reference[:images], embed(network, self.held_out[:images])).mean())

    def find_sensitive(
        self, method: str, target: float, progress: Callable[[int, int], None] | None
    ) -> dict[str, float]:
        """The fewest layers that have to stay in float, most costly first -> 1 - cosine of each one quantised alone."""
        costs: dict[str, float] = {}
        for done, layer in enumerate(self.blocks, start=1):
            alone = self.quantise(method, self.blocks.keys() - {layer})
            costs[layer] = 1 - self.mean_cosine(alone, COMPARED)
            if progress is not None:
                progress(done, len(self.blocks))
        order = sorted(costs, key=lambda layer: costs[layer], reverse=True)
        # Halving: with all of them in float, the target is met.
        too_few, enough = 0, len(order)
        while enough - too_few > 1:
            count = (too_few + enough) // 2
            if self.mean_cosine(self.quantise(method, order[:count])) >= target:
                enough = count
            else:
                too_few = count
        return {layer: costs[layer] for layer in order[:enough]}

    def with_last_weights(self, network: onnx.ModelProto) -> onnx.ModelProto:
        """The network with the weights of an excluded last layer stored in 8 bits, where that costs next to nothing."""
        last = list(self.blocks)[-1]
        if last not in self.excluded:
            return network
        smaller = quantise_weights(network, {last})
        cost = self.mean_cosine(network) - self.mean_cosine(smaller)
        return smaller if cost <= LAST_LAYER_COST else network


def _ignore(line: str) -> None:
    """Nobody is told."""
