"""Checkpoints to export, of random weights, and crops to show them."""

from __future__ import annotations

import torch

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing


def made_checkpoint(name: str = "tinyfacenet", size: int = 64, **preprocessing: object) -> Checkpoint:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=16, width=0.125, input_size=size)
    # Statistics of a trained network, not the neutral ones it starts with.
    for _ in range(3):
        backbone.train()(torch.randn(8, 3, size, size) * 2 + 1)
    return Checkpoint(
        backbone.eval(),
        BackboneSpec(name, 16, 0.125),
        Preprocessing(size=size, **preprocessing),  # type: ignore[arg-type]
        {"seed": 1},
    )
