"""What a model's own file tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch
import yaml
from onnx import TensorProto
from pydantic import ValidationError

from facedistill.bench.costs import Costs, model_costs
from facedistill.embedders.load import find_checkpoint, load_model_checkpoint
from facedistill.embedders.onnx_embedder import PREPROCESSING_KEY, OnnxEmbedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import ModelFileError
from facedistill.export.onnx_metadata import read_metadata
from facedistill.export.saved_thresholds import read_thresholds
from facedistill.model_hashes import known_hashes
from facedistill.preprocessing import Preprocessing
from facedistill.saved_results import SavedThreshold
from facedistill.training.run_folder import CONFIG

QUANTISED = ("DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True)
class ModelFacts:
    """One model file.

    Args:
        name: the file, or the run folder.
        file: the file that holds the weights.
        hashes: SHA-256 sums by which results may know it, its own first; see `known_hashes`.
        backbone: how the network was built, as `BackboneSpec.to_dict` has it; empty where the file does not tell.
        costs: parameters, multiply-adds and size.
        embedding_size: D.
        preprocessing: what it does to a crop.
        assumed: whether nothing in the file tells the preprocessing.
        precision: "fp32", "fp16" or "int8".
        pixels: whether it takes uint8 pixels and does the preprocessing itself.
        normalised: whether its embeddings are of length 1.
        provenance: what the training wrote down; empty where nothing did.
        exported_from: SHA-256 of the file that it was made of, None where the file does not tell.
        thresholds: operating points saved in it.
        licences: "teacher" and "data" -> terms saved in it.
    """

    name: str
    file: str
    hashes: tuple[str, ...]
    backbone: dict[str, Any]
    costs: Costs
    embedding_size: int
    preprocessing: Preprocessing
    assumed: bool = False
    precision: str = "fp32"
    pixels: bool = False
    normalised: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)
    exported_from: str | None = None
    thresholds: tuple[SavedThreshold, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "costs": self.costs.to_dict(),
            "thresholds": [threshold.model_dump() for threshold in self.thresholds],
        }


def read_model_facts(
    path: Path,
    *,
    color: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    note: Callable[[str], None] | None = None,
) -> ModelFacts:
    """Open a model and look at it; arguments and errors as of `load_embedder`."""
    file = find_checkpoint(path)
    given = {"color": color, "mean": mean, "std": std}
    if file.suffix == ".onnx":
        return _of_onnx(file, OnnxEmbedder(file, device="cpu", **given, note=note))  # type: ignore[arg-type]
    checkpoint = load_model_checkpoint(file, **given, note=note)  # type: ignore[arg-type]
    model = TorchEmbedder.from_checkpoint(checkpoint, name=path.name, device=torch.device("cpu"))
    return ModelFacts(
        name=path.resolve().name,
        file=file.relative_to(path).as_posix() if path.is_dir() else file.name,
        hashes=known_hashes(file),
        backbone=checkpoint.spec.to_dict(),
        costs=model_costs(path, model),
        embedding_size=checkpoint.spec.embedding_size,
        preprocessing=checkpoint.preprocessing,
        provenance=_with_config(path, checkpoint.provenance),
    )


def _with_config(path: Path, provenance: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's provenance, with what only its run's configuration tells: the names of the data."""
    try:
        config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return provenance
    return {**config, **provenance} if isinstance(config, dict) else provenance


def _of_onnx(file: Path, model: OnnxEmbedder) -> ModelFacts:
    metadata = read_metadata(file)
    network = onnx.load(file, load_external_data=False)
    source = _json(metadata, "facedistill.exported_from", file)
    return ModelFacts(
        name=file.name,
        file=file.name,
        hashes=known_hashes(file),
        backbone=_json(metadata, "facedistill.backbone", file),
        costs=model_costs(file, model),
        embedding_size=model.embedding_size,
        preprocessing=model.preprocessing,
        assumed=PREPROCESSING_KEY not in metadata,
        precision=metadata.get("facedistill.precision", _precision(network)),
        pixels=any(value.type.tensor_type.elem_type == TensorProto.UINT8 for value in network.graph.input),
        normalised=metadata.get("facedistill.normalised") == "true",
        provenance=_json(metadata, "facedistill.provenance", file),
        exported_from=source["sha256"] if isinstance(source.get("sha256"), str) else None,
        thresholds=_thresholds(file),
        licences={
            kind: metadata[key] for kind in ("teacher", "data") if (key := f"facedistill.{kind}_license") in metadata
        },
    )


def _json(metadata: dict[str, str], key: str, file: Path) -> dict[str, Any]:
    """A mapping from the metadata, empty where there is none."""
    try:
        found = json.loads(metadata.get(key, "{}"))
    except ValueError as error:
        raise ModelFileError(f"its metadata {key} is not JSON", place=file) from error
    if not isinstance(found, dict):
        raise ModelFileError(f"its metadata {key} is no mapping", place=file)
    return found


def _thresholds(file: Path) -> tuple[SavedThreshold, ...]:
    try:
        return tuple(map(SavedThreshold.model_validate, read_thresholds(file)))
    except ValidationError as error:
        raise ModelFileError("its saved thresholds are damaged", place=file) from error


def _precision(network: onnx.ModelProto) -> str:
    """What the weights of a file are that does not say it."""
    if any(node.op_type in QUANTISED for node in network.graph.node):
        return "int8"
    halves = any(weight.data_type == TensorProto.FLOAT16 for weight in network.graph.initializer)
    return "fp16" if halves else "fp32"
