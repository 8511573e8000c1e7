"""Softmax cross-entropy over classes that are spread over processes (An et al., CVPR 2022, arXiv 2203.15565)."""

from __future__ import annotations

from typing import Any

import torch

from facedistill.ranks import largest_over_ranks, sum_over_ranks


class _ShardedCrossEntropy(torch.autograd.Function):
    """Forward: the mean cross-entropy. Backward: (softmax - one hot) / N, for this process's columns."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, column: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
        largest = largest_over_ranks(logits.amax(dim=1))
        powers = logits.sub(largest[:, None]).exp_()
        own = torch.where(here, logits.gather(1, column[:, None]).squeeze(1), 0.0)
        total, target = sum_over_ranks(torch.stack([powers.sum(dim=1), own]))
        ctx.save_for_backward(powers.div_(total[:, None]), column, here)
        loss: torch.Tensor = (total.log() + largest - target).mean()
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        probabilities, column, here = ctx.saved_tensors
        gradient = gradient / len(column)
        one_hot = torch.where(here, -gradient, 0.0)
        # In place, since there may be no room for another; going backward a second time is an error of autograd's.
        return probabilities.mul_(gradient).scatter_add_(1, column[:, None], one_hot[:, None]), None, None


def sharded_cross_entropy(logits: torch.Tensor, column: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of N images over the classes of all processes.

    Args:
        logits: (N, K) float32: every process has the same images and columns for classes of its own.
        column: (N,) int64, the column of the image's own class; any column where it is another process's.
        here: (N,) bool, whether this process has the image's own class; exactly one process has.

    Returns:
        A 0-d tensor, the same in every process. Its gradient with respect to a process's logits is that of this one
        loss: it is not to be averaged over the processes.
    """
    loss: torch.Tensor = _ShardedCrossEntropy.apply(logits, column, here)  # type: ignore[no-untyped-call]
    return loss
