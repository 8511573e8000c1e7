"""What the launcher (torchrun or SLURM) says of this process, before anything heavy is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launched:
    """The place of this process among those of a run.

    Attributes:
        rank: its number over all machines, 0 for the first.
        ranks: how many there are.
        rank_here: its number on this machine, which is also that of its GPU.
        ranks_here: how many of them are on this machine.
    """

    rank: int = 0
    ranks: int = 1
    rank_here: int = 0
    ranks_here: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0


def launched() -> Launched:
    """Read the environment; a process that nobody launched as one of several is alone."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment or {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= environment.keys():
        ranks = int(environment.get("WORLD_SIZE", "1"))
        return Launched(
            rank=int(environment.get("RANK", "0")),
            ranks=ranks,
            rank_here=int(environment.get("LOCAL_RANK", "0")),
            ranks_here=int(environment.get("LOCAL_WORLD_SIZE", ranks)),
        )
    # An interactive shell inside an allocation has SLURM's variables too, and is one process all the same.
    if "SLURM_PROCID" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        ranks = int(environment.get("SLURM_NTASKS", "1"))
        here = environment.get("SLURM_NTASKS_PER_NODE") or ranks // int(environment.get("SLURM_NNODES", "1"))
        return Launched(
            rank=int(environment["SLURM_PROCID"]),
            ranks=ranks,
            rank_here=int(environment.get("SLURM_LOCALID", "0")),
            ranks_here=int(here),
        )
    return Launched()
