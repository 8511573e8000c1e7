"""Checkpoints: safetensors weights whose header carries what is needed to use them, as JSON. Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from facedistill.errors import FacedistillError, ModelFileError
from facedistill.files import file_sha256, write_atomically
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing

FORMAT = "facedistill-checkpoint"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class BackboneSpec:
    """The arguments a backbone was built with; the input size stands in the preprocessing."""

    name: str
    embedding_size: int
    width: float = 1.0


@dataclass(frozen=True)
class Checkpoint:
    """A backbone, what it expects of its input, and how it came to be.

    Args:
        backbone: the network in eval mode.
        spec: how to build it.
        preprocessing: its input.
        provenance: free JSON-ready facts (command, teacher, data, seed, epoch).
        fingerprint: SHA-256 of the file it was read from, empty if it was read from none.
    """

    backbone: nn.Module
    spec: BackboneSpec
    preprocessing: Preprocessing
    provenance: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the backbone's weights and statistics with their metadata, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.backbone.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "backbone": json.dumps(asdict(checkpoint.spec)),
        "preprocessing": json.dumps(checkpoint.preprocessing.to_dict()),
        "provenance": json.dumps(checkpoint.provenance),
    }
    write_atomically(path, save(tensors, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint written by `save_checkpoint`, on the CPU and in eval mode.

    Raises:
        ModelFileError: the file is missing, damaged, not a facedistill checkpoint, or its weights do not fit.
    """
    if not path.is_file():
        raise ModelFileError("there is no such checkpoint", place=path)
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"the checkpoint cannot be read ({error})", place=path, next_step="It may be truncated; copy it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            "the file is no facedistill checkpoint (its header says nothing of a backbone)", place=path
        )
    try:
        spec = BackboneSpec(**json.loads(metadata["backbone"]))
        preprocessing = Preprocessing.from_dict(json.loads(metadata["preprocessing"]), place=path)
        backbone = build_backbone(
            spec.name, embedding_size=spec.embedding_size, width=spec.width, input_size=preprocessing.size
        )
        backbone.load_state_dict(tensors)
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, FacedistillError) as error:
        raise ModelFileError(f"the checkpoint does not fit its own description ({error})", place=path) from error
    _require_finite(tensors, path)
    return Checkpoint(
        backbone=backbone.eval(),
        spec=spec,
        preprocessing=preprocessing,
        provenance=json.loads(metadata.get("provenance", "{}")),
        fingerprint=file_sha256(path),
    )


def _require_finite(tensors: dict[str, torch.Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelFileError(f"the weights in '{name}' are not finite", place=path)
