"""The running average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def decay_after(steps: int, decay: float) -> float:
    """The share that the average keeps of itself at its next update.

    min(decay, (1 + n) / (10 + n)) after n updates, so that a run that is shorter than the average's memory does not
    end with the weights that it began with. The rule is TensorFlow's, for its moving averages.

    Args:
        steps: n, how many updates there were.
        decay: the share in the end, in [0, 1).
    """
    return min(decay, (1 + steps) / (10 + steps))


class RunningAverage:
    """A second network of the same shape, whose weights and statistics follow those of the first.

    torch's `AveragedModel` counts its updates in a tensor and reads it each time, for which a GPU has to be waited for.

    Args:
        network: the first one; it is copied.
        decay: the share that the average keeps of itself in the end, in [0, 1).

    Attributes:
        module: the second network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the present weights: the first time as they are; whole numbers always so."""
        averaged, current = _tensors(self.module), _tensors(network)
        fractions = [number for number, tensor in enumerate(averaged) if tensor.is_floating_point()]
        decay = decay_after(self._updates, self._decay) if self._updates else 0.0
        torch._foreach_lerp_(
            [averaged[number] for number in fractions], [current[number] for number in fractions], 1 - decay
        )
        for mine, theirs in zip(averaged, current, strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What is to be saved."""
        return {"updates": self._updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._updates = int(state["updates"])
        self.module.load_state_dict(state["module"])


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
