"""What a network would cost without some of its channels, without building it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from facedistill.models.shrink import is_depthwise
from facedistill.prune.choice import Removed
from facedistill.prune.groups import ChannelGroup


@dataclass(frozen=True)
class LayerCost:
    """What the multiply-adds of one layer are the product of.

    Attributes:
        area: output pixels times the kernel's; of a linear layer 1.
        inputs: channels that one output looks at.
        outputs: channels.
        side: of the output map in pixels; of a linear layer 0.
        depthwise: whether each output looks at its own input alone.
    """

    area: int
    inputs: int
    outputs: int
    side: int
    depthwise: bool

    @property
    def multiply_adds(self) -> int:
        """Of one image."""
        return self.area * self.inputs * self.outputs


def layer_costs(backbone: nn.Module, input_size: int) -> dict[str, LayerCost]:
    """The costs of each convolution and linear layer, by name, found by a forward pass in eval mode."""
    costs: dict[str, LayerCost] = {}
    with torch.no_grad(), _watched(backbone, costs):
        backbone.eval()(torch.zeros(1, 3, input_size, input_size))
    return costs


@contextmanager
def _watched(backbone: nn.Module, costs: dict[str, LayerCost]) -> Iterator[None]:
    def watch(name: str, layer: nn.Module) -> None:
        def look(_: nn.Module, __: tuple[torch.Tensor], output: torch.Tensor) -> None:
            if isinstance(layer, nn.Conv2d):
                height, width = output.shape[2:]
                area = height * width * layer.weight[0, 0].numel()
                costs[name] = LayerCost(area, layer.weight.shape[1], layer.out_channels, height, is_depthwise(layer))
            elif isinstance(layer, nn.Linear):
                costs[name] = LayerCost(1, layer.in_features, layer.out_features, 0, False)

        hooks.append(layer.register_forward_hook(look))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    for name, layer in backbone.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            watch(name, layer)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def multiply_adds_without(costs: Mapping[str, LayerCost], groups: Sequence[ChannelGroup], removed: Removed) -> int:
    """Multiply-adds of one image without the removed units.

    Args:
        costs: of the layers as they are.
        groups: of the network.
        removed: of each group, (U,) which units go.
    """
    outputs = {name: cost.outputs for name, cost in costs.items()}
    inputs = {name: cost.inputs for name, cost in costs.items()}
    for group, gone in zip(groups, removed, strict=True):
        for name, lost in group.outputs.items():
            outputs[name] -= int(lost[gone].sum())
        for name, lost in group.inputs.items():
            if not costs[name].depthwise:
                inputs[name] -= int(lost[gone].sum())
    return sum(cost.area * inputs[name] * outputs[name] for name, cost in costs.items())


def channels_by_side(costs: Mapping[str, LayerCost]) -> dict[int, int]:
    """Side of a map in pixels -> output channels of all convolutions that give maps of that side; the largest first."""
    channels: dict[int, int] = {}
    for cost in costs.values():
        if cost.side:
            channels[cost.side] = channels.get(cost.side, 0) + cost.outputs
    return dict(sorted(channels.items(), reverse=True))
