"""Put rounding to 8 bits around chosen nodes of a network."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData
from onnxruntime.quantization.quant_utils import add_infer_metadata

from facedistill.errors import ModelFileError
from facedistill.export.precision.activations import float_tensors
from facedistill.export.precision.integer_prelu import join_maxima
from facedistill.export.precision.prepared import read_weights, weight_axis
from facedistill.export.precision.ranges import Ranges

# What is quantised beside layers with weights. Sums and the like are where no side of them is a constant, as
# others belong to norms and activations that are spelled out.
ALSO_QUANTISED = frozenset(
    ["AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "PRelu", "Relu", "Reshape", "Squeeze"]
) | {"Transpose", "Unsqueeze"}
OF_TWO = frozenset(["Add", "Max", "Mul"])


def find_blocks(model: onnx.ModelProto) -> dict[str, list[str]]:
    """What may be quantised of a prepared network: each layer with weights -> itself and nodes that follow it.

    A layer is a Conv, Gemm or MatMul with constant weights. What comes before the first and after the last layer, as
    preprocessing or normalisation, belongs to none.

    Raises:
        ModelFileError: there is no layer.
    """
    weights = read_weights(model)
    blocks: dict[str, list[str]] = {}
    block: list[str] = []
    for node in model.graph.node:
        if weight_axis(node, weights) is not None:
            block = blocks[node.name] = [node.name]
        elif node.op_type in ALSO_QUANTISED or (
            node.op_type in OF_TWO and (not weights.keys() & set(node.input) or _scales_prelu(node, model))
        ):
            block.append(node.name)
    if not blocks:
        raise ModelFileError(
            "the network has no layers to quantise (Conv, Gemm and MatMul with constant float32 weights)"
        )
    del blocks[next(reversed(blocks))][1:]
    return blocks


def _scales_prelu(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether a product with a constant is one side of a PReLU that was split."""
    return any(
        each.op_type == "Max" and node.output[0] in each.input and node.input[0] in each.input
        for each in model.graph.node
    )


def flowing_tensors(model: onnx.ModelProto, nodes: Collection[str]) -> list[str]:
    """The float32 tensors that these nodes of a prepared network read and write, without weights."""
    chosen = set(nodes)
    touched = {name for node in model.graph.node if node.name in chosen for name in (*node.input, *node.output)}
    known = [value.name for value in model.graph.input] + float_tensors(model)
    return [name for name in known if name in touched]


def quantise_nodes(model: onnx.ModelProto, ranges: Ranges, nodes: Sequence[str]) -> onnx.ModelProto:
    """A copy of a prepared network in which these nodes compute in 8 bits.

    Args:
        model: the float network.
        ranges: of every tensor of `flowing_tensors`.
        nodes: names.

    Raises:
        ModelFileError: onnxruntime's quantiser fails.
    """
    result: onnx.ModelProto = onnx.ModelProto()
    result.CopyFrom(model)
    if not nodes:  # the quantiser would take none for all
        return result
    add_infer_metadata(result)  # or the quantiser would write the network to a file to infer its types
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    try:
        with _quiet():
            quantiser = QDQQuantizer(
                result,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=TensorsData(CalibrationMethod.MinMax, data),
                nodes_to_quantize=list(nodes),
                nodes_to_exclude=[],
                op_types_to_quantize=sorted({node.op_type for node in model.graph.node}),
                extra_options={},
            )
            quantiser.quantize_model()
    except Exception as error:  # it raises whatever its helpers do
        raise ModelFileError(f"onnxruntime cannot quantise the network ({error})") from error
    result = quantiser.model.model  # it works on a copy of its own where types are missing
    quantiser.model.topological_sort()
    join_maxima(result)
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    # The types of tensors are those of the float network, and take a tenth of a small file.
    del result.graph.value_info[:]
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which goes to the root logger, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
