"""What the launcher (torchrun or SLURM) says of this process, before anything heavy is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Launched:
    """The place of this process among those of a run.

    Attributes:
        rank: its number over all machines, 0 for the first.
        ranks: how many there are.
        rank_here: its number on this machine, which is also that of its GPU.
        ranks_here: how many of them are on this machine.
        by: "torchrun" (or another that sets the same variables) or "srun"; None for a process that is alone.
    """

    rank: int = 0
    ranks: int = 1
    rank_here: int = 0
    ranks_here: int = 1
    by: str | None = None

    @property
    def first(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0


def launched() -> Launched:
    """Read the environment; a process that nobody launched as one of several is alone."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment or {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= environment.keys():
        ranks = number(environment, "WORLD_SIZE", 1)
        return Launched(
            rank=number(environment, "RANK", 0),
            ranks=ranks,
            rank_here=number(environment, "LOCAL_RANK", 0),
            ranks_here=number(environment, "LOCAL_WORLD_SIZE", ranks),
            by="torchrun",
        )
    return launched_by_srun(environment)


def launched_by_srun(environment: Mapping[str, str]) -> Launched:
    """The place among the tasks of a SLURM step.

    A job script, and a shell inside an allocation, have the variables of the allocation without being one of its
    tasks; only those of the step (`SLURM_STEP_...`, the same names without it in old versions) tell.
    """
    step = "SLURM_STEP_" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_"
    ranks = number(environment, "SLURM_STEP_NUM_TASKS", number(environment, "SLURM_NTASKS", 1))
    shell = step == "SLURM_" and environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    of_step = {"SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"} & environment.keys()
    if not of_step or "SLURM_PROCID" not in environment or ranks < 2 or shell:
        return Launched()
    here = tasks_of_node(environment.get(f"{step}TASKS_PER_NODE", ""), number(environment, "SLURM_NODEID", 0))
    if here is None:
        nodes = number(environment, f"{step}NUM_NODES", number(environment, "SLURM_NNODES", 1))
        here = max(1, number(environment, "SLURM_NTASKS_PER_NODE", ranks // max(1, nodes)))
    return Launched(
        rank=number(environment, "SLURM_PROCID", 0),
        ranks=ranks,
        rank_here=number(environment, "SLURM_LOCALID", 0),
        ranks_here=here,
        by="srun",
    )


def tasks_of_node(text: str, node: int) -> int | None:
    """How many tasks a node has by SLURM's list, such as "4(x2),3" for 4, 4 and 3; None where it does not say."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return None
        counts += [int(match[1])] * int(match[2] or 1)
    return counts[node] if 0 <= node < len(counts) else None


def number(environment: Mapping[str, str], name: str, default: int) -> int:
    """A variable that holds a number; the default where it is missing or holds none."""
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else default
