"""Who is told how a training run goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facedistill.embedders.torch_embedder import TorchEmbedder

Record = dict[str, Any]
"""The figures of one epoch, as `metrics.jsonl` holds them."""


@dataclass(frozen=True)
class Listeners:
    """What a run calls on its way; each may be left out.

    Args:
        follow: figures of a benchmark for the model as it is, asked for after each epoch; `best.safetensors` is the
            epoch whose "accuracy" was highest.
        teacher_progress: told the images that the teacher has embedded, and how many there are.
        progress: told the steps done, and how many there are.
        on_epoch: told each epoch's record.
        note: told what was assumed or skipped.
    """

    follow: Callable[[TorchEmbedder], dict[str, float]] | None = None
    teacher_progress: Callable[[int, int], None] | None = None
    progress: Callable[[int, int], None] | None = None
    on_epoch: Callable[[Record], None] | None = None
    note: Callable[[str], None] | None = None
