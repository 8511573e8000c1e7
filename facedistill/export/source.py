"""What is exported: a checkpoint, or an ONNX file of anybody's, as one float network with the facts about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch

from facedistill.checkpoint import Checkpoint
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY, OnnxEmbedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import ModelFileError, UsageError
from facedistill.export.graph import fold_batch_norms, free_batch_axis, read_network
from facedistill.export.graph.image_input import find_input
from facedistill.export.trace import INPUT_NAME, OUTPUT_NAME, trace
from facedistill.preprocessing import Preprocessing

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A network to be written in another form.

    Args:
        name: the file that it comes from.
        reference: what the result has to agree with, on the CPU.
        network: float32; its input is `input`, its output `embedding`, its batch free.
        preprocessing: what the network expects, its layout among it.
        facts: metadata of the result: key -> text.
    """

    name: str
    reference: Embedder
    network: onnx.ModelProto
    preprocessing: Preprocessing
    facts: Mapping[str, str]


def source_of_checkpoint(checkpoint: Checkpoint, *, name: str = "the checkpoint") -> ExportSource:
    """A checkpoint to export.

    Args:
        checkpoint: a backbone in eval mode, on the CPU.
        name: its file.

    Raises:
        ModelFileError: the backbone is in training mode, in which its batch norms would be exported, or the exporter
            fails.
    """
    if checkpoint.backbone.training:
        raise ModelFileError("the model is in training mode and cannot be exported", next_step="Call .eval() first")
    size = checkpoint.preprocessing.size
    network = trace(checkpoint.backbone, torch.zeros(2, 3, size, size))
    facts = {
        "facedistill.backbone": json.dumps(checkpoint.spec.to_dict()),
        "facedistill.provenance": json.dumps(checkpoint.provenance),
    }
    if checkpoint.fingerprint:
        facts["facedistill.exported_from"] = exported_from(Path(name), checkpoint.fingerprint)
    reference = TorchEmbedder.from_checkpoint(checkpoint, name=name, device=torch.device("cpu"))
    return ExportSource(name, reference, network, checkpoint.preprocessing, facts)


def source_of_onnx(
    path: Path,
    *,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> ExportSource:
    """An ONNX file to write in another form or precision.

    A fixed batch is freed, and batch norms become part of the convolutions before them.

    Args:
        path: the file.
        color: overrides or supplies the colour order.
        mean: overrides or supplies the mean, 0..255 scale.
        std: overrides or supplies the standard deviation, 0..255 scale.
        note: receives one line about each thing that was assumed or changed.

    Raises:
        ModelFileError: no embedding network, or a damaged one.
        UsageError: it isn't in float32, so that there is nothing left to choose.
    """
    network = read_network(path)
    _require_float(network, path)
    reference = OnnxEmbedder(path, device="cpu", color=color, mean=mean, std=std, note=note)
    facts: dict[str, str] = {entry.key: entry.value for entry in network.metadata_props}
    facts.pop(PREPROCESSING_KEY, None)
    facts.setdefault("facedistill.provenance", json.dumps({"exported_from": path.name}))
    facts["facedistill.exported_from"] = exported_from(path, reference.fingerprint)
    rename_ends(network)
    freed, folded = free_batch_axis(network), fold_batch_norms(network)
    if note and freed:
        note(f"{path}: its batch was fixed and is free now")
    if note and folded:
        note(f"{path}: {folded} batch norms became part of the convolutions before them")
    return ExportSource(str(path), reference, network, reference.preprocessing, facts)


def exported_from(path: Path, sha256: str) -> str:
    """The link from a file to its source, as it stands in the metadata."""
    return json.dumps({"file": path.name, "sha256": sha256})


def rename_ends(network: onnx.ModelProto) -> None:
    """Call the input and the first output what all exported files call them; other outputs are left out."""
    graph = network.graph
    names = {find_input(network).name: INPUT_NAME, graph.output[0].name: OUTPUT_NAME}
    del graph.output[1:]
    clashes = {INPUT_NAME, OUTPUT_NAME} - set(names)
    for node in graph.node:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = names.get(name, f"{name}_" if name in clashes else name)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, f"{value.name}_" if value.name in clashes else value.name)


def _require_float(network: onnx.ModelProto, path: Path) -> None:
    quantised = any(node.op_type in QUANTISED for node in network.graph.node)
    types = {network.graph.input[0].type.tensor_type.elem_type}
    types |= {weight.data_type for weight in network.graph.initializer}
    if quantised or onnx.TensorProto.FLOAT16 in types or onnx.TensorProto.UINT8 in types:
        raise UsageError(
            "the file is not in float32, and what was rounded away cannot be had back",
            place=path,
            next_step="Export from the float32 file, or from the run or checkpoint it was made of",
        )
