"""Who is told how a training run goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facedistill.embedders.torch_embedder import TorchEmbedder

if TYPE_CHECKING:
    from facedistill.training.loggers import RunLogger

Record = dict[str, Any]
"""The figures of some steps, as `metrics.jsonl` holds them."""


@dataclass(frozen=True)
class Listeners:
    """What a run calls on its way; each may be left out. Of several processes, all but `follow` are the first's.

    Args:
        follow: figures of a benchmark for the model as it is; `best.safetensors` is the one whose "accuracy" was
            highest. Every process calls it, and each does its share (`embed_dataset`'s `shared`).
        teacher_progress: told the images that the teacher has embedded, and how many there are.
        progress: told the steps done, and how many there are.
        status: told the figures since the last record every few steps, as a record that is not yet complete.
        on_record: told each record once it is complete.
        note: told what was assumed or skipped, and what goes wrong.
        loggers: services that keep the records too.
    """

    follow: Callable[[TorchEmbedder], dict[str, float]] | None = None
    teacher_progress: Callable[[int, int], None] | None = None
    progress: Callable[[int, int], None] | None = None
    status: Callable[[Record], None] | None = None
    on_record: Callable[[Record], None] | None = None
    note: Callable[[str], None] | None = None
    loggers: Sequence[RunLogger] = field(default=())

    def of_process(self, *, first: bool) -> Listeners:
        """These, or for another process than the first, only what all have to take part in."""
        return self if first else Listeners(follow=self.follow)
