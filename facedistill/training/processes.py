"""Join the processes that torchrun or SLURM has started, on their devices."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.nn.parallel import DistributedDataParallel

from facedistill.embedders.load import choose_device
from facedistill.errors import TrainingError, UsageError
from facedistill.launcher import Launched, launched
from facedistill.ranks import ranks

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}

# What gloo and NCCL say when another process is gone.
SIGNS_OF_A_LOST_PROCESS = ("connection closed by peer", "connection reset by peer", "broken pipe", "nccl", "gloo")


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
            next_step="Start one process a GPU: torchrun --nproc-per-node, or srun --ntasks-per-node with "
            "--gpus-per-node (--gpus-per-task hides the others)",
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Of kernels with one input channel, of which both layouts are the same.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
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
        # Named, since Fabric would look for others itself, and take a job script of SLURM's for one of many tasks.
        return Fabric(accelerator=kind, devices=1, precision=PRECISIONS[precision], plugins=LightningEnvironment())
    ddp_options = inspect.signature(DistributedDataParallel).parameters
    buffers: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in ddp_options else "broadcast_buffers": False
    }
    # The usual scaler decides in each process whether a step is left out; with sharded centres, whose gradients
    # differ, the processes have to decide together.
    scaled = [MixedPrecision("16-mixed", kind, ShardedGradScaler())] if precision == "16" else []
    return Fabric(
        accelerator=kind,
        devices=place.ranks_here,
        num_nodes=max(1, place.ranks // place.ranks_here),
        # The engine sees to the buffers; torch 2.13 gave the option another name.
        strategy=DDPStrategy(
            process_group_backend="nccl" if kind == "cuda" else "gloo",
            **buffers,
        ),
        plugins=[LaunchedEnvironment(place), *scaled],
        precision=None if scaled else PRECISIONS[precision],
    )


class LaunchedEnvironment(TorchElasticEnvironment):
    """Tells Fabric who this process is, by torchrun's variables or SLURM's.

    Fabric's own for SLURM refuses tasks that were not asked for by --ntasks-per-node, and nodes with unequally many.
    """

    def __init__(self, place: Launched) -> None:
        super().__init__()
        self._place = place
        if place.by == "srun":
            nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", "127.0.0.1"))
            os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
            # All tasks have to find the same one, and two jobs on a node others.
            job = os.environ.get("SLURM_JOB_ID", "0")[-4:]
            os.environ.setdefault("MASTER_PORT", str(15000 + int(job) if job.isdecimal() else 15000))

    def world_size(self) -> int:
        """How many processes there are."""
        return self._place.ranks

    def global_rank(self) -> int:
        """The number of this one."""
        return self._place.rank

    def local_rank(self) -> int:
        """Its number on its machine."""
        return self._place.rank_here

    def node_rank(self) -> int:
        """The number of its machine."""
        return int(os.environ.get("SLURM_NODEID" if self._place.by == "srun" else "GROUP_RANK", "0"))

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Nothing to compare: the settings come from the same place."""


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


@contextmanager
def others_may_end() -> Iterator[None]:
    """Within this, what the connection makes of another process's end becomes an error that tells so.

    Raises:
        TrainingError: another process has ended while this one waited for it.
    """
    try:
        yield
    except RuntimeError as error:
        lost = ranks() > 1 and any(sign in str(error).lower() for sign in SIGNS_OF_A_LOST_PROCESS)
        if not lost:
            raise
        raise TrainingError(
            "another process of the run has ended, so that this one cannot go on",
            next_step="The other's message tells why",
        ) from error
