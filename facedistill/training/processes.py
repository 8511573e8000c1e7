"""Join the processes that torchrun or SLURM has started, on their devices."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from facedistill.embedders.load import choose_device
from facedistill.errors import UsageError
from facedistill.launcher import Launched, launched
from facedistill.ranks import ranks

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def join_processes(device: str, precision: str) -> Fabric:
    """Devices, precision and, where a launcher started several processes, their connection.

    Args:
        device: "auto", "cpu" or "cuda".
        precision: "32", "bf16" or "16".

    Raises:
        UsageError: the device or the precision is not to be had here, or more processes than GPUs.
    """
    kind = choose_device(device).type
    place = launched()
    if precision == "16" and kind == "cpu":
        raise UsageError("16-bit floats need a GPU", place="--precision", next_step="Use bf16 or 32 on the CPU")
    if kind == "cuda" and place.ranks_here > torch.cuda.device_count():
        raise UsageError(
            f"{place.ranks_here} processes were started on this machine, which has {torch.cuda.device_count()} GPU(s)",
            next_step="Start one process a GPU: torchrun --nproc-per-node",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # It would have us use srun in an interactive shell, where one process is meant.
        warnings.filterwarnings("ignore", ".*srun.*")
        fabric = make_fabric(kind, precision, place)
        fabric.launch()
    if ranks() != place.ranks:
        raise UsageError(
            f"{place.ranks} processes were started, and {ranks()} found one another",
            next_step="Start them by torchrun, or by srun with --ntasks-per-node",
        )
    return fabric


def make_fabric(kind: str, precision: str, place: Launched) -> Fabric:
    """One device for a process that is alone, data-parallel ones for several."""
    if place.ranks == 1:
        return Fabric(accelerator=kind, devices=1, precision=PRECISIONS[precision])
    return Fabric(
        accelerator=kind,
        devices=place.ranks_here,
        num_nodes=place.ranks // place.ranks_here,
        strategy=DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo"),
        # The usual scaler decides in each process whether a step is left out; with sharded centres, whose gradients
        # differ, the processes have to decide together.
        plugins=MixedPrecision("16-mixed", kind, ShardedGradScaler()) if precision == "16" else None,
        precision=None if precision == "16" else PRECISIONS[precision],
    )


def agreement_group() -> distributed.ProcessGroup | None:
    """A group in which the processes agree on the CPU, so that no GPU waits for it; None where there is one process."""
    return distributed.new_group(backend="gloo") if ranks() > 1 else None


def agree(values: list[int], group: distributed.ProcessGroup | None) -> list[int]:
    """The largest that any process gives, value by value; every process has to call this."""
    if group is None:
        return values
    tensor = torch.tensor(values, dtype=torch.int64)
    distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX, group=group)
    agreed: list[int] = tensor.tolist()
    return agreed
