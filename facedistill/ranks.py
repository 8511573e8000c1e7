"""The processes of a distributed run: who this one is, and what they tell each other.

Everything here also works in a run of one process, where nothing has to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

T = TypeVar("T")

# Rows that are exchanged at once when a large array is put together, in bytes of the array.
_PIECE = 1 << 26


def rank() -> int:
    """The number of this process, 0 for the first or only one."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def ranks() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """Forward: the rows of all processes. Backward: the sum of what every process sends back to this one's rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.own = len(rows)
        return _gather_rows(rows)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = sum_over_ranks(gradient)  # a new tensor, since others may use the one that came
        return gradient[rank() * ctx.own : (rank() + 1) * ctx.own]


def gather(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes below one another, in the order of their ranks, with gradient.

    Backward, each process gets for its own rows the sum of the gradients of all processes. Where all of them compute
    the same loss from the gathered rows, that is the number of processes times the gradient of this loss, which the
    averaging over processes that follows divides by again.

    Args:
        rows: (B, ...), of the same shape in every process.

    Returns:
        (ranks * B, ...); `rows` itself in a run of one process.
    """
    if ranks() == 1:
        return rows
    if not rows.requires_grad:
        return _gather_rows(rows)
    gathered: torch.Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def _gather_rows(rows: torch.Tensor) -> torch.Tensor:
    pieces = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(ranks())]
    distributed.all_gather(pieces, rows.detach().contiguous())
    return torch.cat(pieces)


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """The sum over the processes of a tensor of the same shape in each, without gradient; a new tensor."""
    total = values.detach().clone(memory_format=torch.contiguous_format)
    if ranks() > 1:
        distributed.all_reduce(total)
    return total


def largest_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """The largest over the processes of each element, without gradient; a new tensor."""
    largest = values.detach().clone(memory_format=torch.contiguous_format)
    if ranks() > 1:
        distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return largest


def mean_over_ranks(tensors: Sequence[torch.Tensor]) -> None:
    """Replace float tensors on one device by their mean over the processes, in one exchange for all of them."""
    if ranks() == 1 or not tensors:
        return
    with torch.no_grad():
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        distributed.all_reduce(flat)
        pieces = torch.split(flat / ranks(), [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))


def of_first(value: T) -> T:
    """What the first process gives, in every process; a small object that can be pickled."""
    if ranks() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def of_every(value: T) -> list[T]:
    """What each process gives, in the order of their ranks, in every process; small objects that can be pickled."""
    if ranks() == 1:
        return [value]
    values: list[Any] = [None] * ranks()
    distributed.all_gather_object(values, value)
    return values


def own_share(count: int) -> npt.NDArray[np.int64]:
    """Which of `count` pieces of work are this process's: every `ranks()`-th."""
    return np.arange(rank(), count, ranks(), dtype=np.int64)


def share_rows(
    own: npt.NDArray[np.float32], count: int, *, device: torch.device | None = None
) -> npt.NDArray[np.float32]:
    """The (count, D) array of which every process computed the rows that `own_share(count)` gave it.

    Args:
        own: (len(own_share(count)), D) float32.
        count: rows of the whole.
        device: where the processes exchange tensors if they talk by NCCL; None for the current GPU.
    """
    if ranks() == 1:
        return own
    if distributed.get_backend() == "nccl":
        device = device if device is not None and device.type == "cuda" else torch.device("cuda")
    else:
        device = torch.device("cpu")
    whole = np.empty((count, *own.shape[1:]), dtype=own.dtype)
    longest = -(-count // ranks())
    step = max(1, _PIECE // max(1, own[:1].nbytes or own.dtype.itemsize * int(np.prod(own.shape[1:]))))
    for start in range(0, longest, step):
        stop = min(longest, start + step)
        piece = np.zeros((stop - start, *own.shape[1:]), dtype=own.dtype)
        present = own[start:stop]
        piece[: len(present)] = present
        gathered = _gather_rows(torch.from_numpy(piece).to(device)).cpu().numpy()
        for number, rows in enumerate(np.split(gathered, ranks())):
            target = whole[number :: ranks()][start:stop]
            target[:] = rows[: len(target)]
    return whole
