"""What a model costs: parameters, multiply-adds, size of its file, latency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from facedistill.bench.latency import Latency
from facedistill.embedders.load import find_checkpoint
from facedistill.embedders.load_model import Model
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.models.complexity import measure_complexity
from facedistill.models.onnx_complexity import measure_onnx


@dataclass(frozen=True)
class Costs:
    """What is known of a model's costs; None where it is not.

    Args:
        parameters: weights and biases. An export folds batch norms into convolutions and so has fewer.
        multiply_adds: of one image.
        file_bytes: of the model's file, and of the files of weights beside an ONNX file.
        latency: of one crop.
    """

    parameters: int | None = None
    multiply_adds: int | None = None
    file_bytes: int | None = None
    latency: Latency | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "file_bytes": self.file_bytes,
            "latency": None if self.latency is None else self.latency.to_dict(),
        }


def model_costs(path: Path, model: Model, latency: Latency | None = None) -> Costs:
    """The costs of the model that was opened from `path`; a cache of embeddings has none that are known.

    Raises:
        ModelFileError: an ONNX file cannot be read.
    """
    if isinstance(model, TorchEmbedder):
        complexity = measure_complexity(model.backbone, input_size=model.preprocessing.size)
        size = find_checkpoint(path).stat().st_size
        return Costs(complexity.parameters, complexity.multiply_adds, size, latency)
    if path.suffix == ".onnx":
        counted = measure_onnx(path)
        return Costs(counted.parameters, counted.multiply_adds, _onnx_bytes(path), latency)
    return Costs(latency=latency)


def _onnx_bytes(path: Path) -> int:
    """Bytes of an ONNX file and of the files beside it that hold its weights."""
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    beside = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    return sum(file.stat().st_size for file in (path, *(path.parent / name for name in beside)) if file.is_file())
