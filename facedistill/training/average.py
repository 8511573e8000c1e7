"""The running average of a network's weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def decay_after(steps: int, decay: float) -> float:
    """The share that the average keeps of itself at its next update.

    min(decay, (1 + n) / (10 + n)) after n updates, so that a run that is shorter than the average's memory does not
    end with the weights that it began with. The rule is TensorFlow's, for its moving averages.

    Args:
        steps: n, how many updates there were.
        decay: the share in the end, in [0, 1).
    """
    return min(decay, (1 + steps) / (10 + steps))


def running_average(decay: float) -> Callable[[Tensors, Tensors, torch.Tensor | int], None]:
    """How `torch.optim.swa_utils.AveragedModel` takes in new weights, in place; whole numbers are copied."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, steps: torch.Tensor | int) -> None:
        if averaged[0].is_floating_point():
            # The count of updates lies on the CPU, so that nothing waits for the device.
            torch._foreach_lerp_(averaged, current, 1 - decay_after(int(steps), decay))
        else:
            for mine, theirs in zip(averaged, current, strict=True):
                mine.copy_(theirs)

    return update
