"""Checkpoints: safetensors weights whose header carries what is needed to use them, as JSON. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from facedistill.models.shrink import shrink_to
from facedistill.preprocessing import Preprocessing

FORMAT = "facedistill-checkpoint"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class BackboneSpec:
    """The arguments a backbone was built with; the input size stands in the preprocessing.

    Args:
        name: its registered name.
        embedding_size: D.
        width: multiplier of the channels.
        pruned_from: fingerprint of the checkpoint that channels were removed from, empty where none were. Then name
            and width say what was pruned, and the stored tensors how many channels each layer has left.
    """

    name: str
    embedding_size: int
    width: float = 1.0
    pruned_from: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of a network that was not pruned the same as before there was pruning."""
        values = asdict(self)
        if not self.pruned_from:
            del values["pruned_from"]
        return values


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
        "backbone": json.dumps(checkpoint.spec.to_dict()),
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
        backbone = restore_backbone(spec, tensors, input_size=preprocessing.size)
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, FacedistillError) as error:
        raise ModelFileError(f"the checkpoint does not fit its own description ({error})", place=path) from error
    _require_finite(tensors, path)
    return Checkpoint(
        backbone=backbone,
        spec=spec,
        preprocessing=preprocessing,
        provenance=json.loads(metadata.get("provenance", "{}")),
        fingerprint=file_sha256(path),
    )


def restore_backbone(spec: BackboneSpec, tensors: Mapping[str, torch.Tensor], *, input_size: int) -> nn.Module:
    """The backbone that a spec and its tensors describe, in eval mode on the CPU.

    Raises:
        UsageError: there is no such backbone.
        RuntimeError: the tensors do not fit, or the layers of a pruned one do not fit one another.
    """
    backbone = build_backbone(spec.name, embedding_size=spec.embedding_size, width=spec.width, input_size=input_size)
    if spec.pruned_from:
        shrink_to(backbone, {name: tensor.shape for name, tensor in tensors.items()})
    backbone.load_state_dict(tensors)
    backbone.eval()
    if spec.pruned_from:
        # Each layer has the shape that is stored; only a call tells whether one goes into the next.
        with torch.no_grad():
            shape = tuple(backbone(torch.zeros(1, 3, input_size, input_size)).shape)
        if shape != (1, spec.embedding_size):
            raise RuntimeError(f"the pruned network's embedding has the shape {shape}")
    return backbone


def _require_finite(tensors: dict[str, torch.Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelFileError(f"the weights in '{name}' are not finite", place=path)
