"""Parameters and multiply-adds of a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Complexity:
    """What one image costs: trainable and frozen parameters, and multiply-adds of convolutions and linear layers."""

    parameters: int
    multiply_adds: int


def count_parameters(model: nn.Module) -> int:
    """Weights and biases, trained or frozen; the running statistics of batch norms are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def measure_complexity(model: nn.Module, *, input_size: int) -> Complexity:
    """Count what `model` does with one (1, 3, input_size, input_size) image.

    Multiply-adds are counted by hooks on the convolutions and linear layers, as papers on compact networks do;
    batch norms (which fold into convolutions) and activations are left out. The model is put back into the mode
    it was in.
    """
    total = 0

    def add(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            per_value = layer.weight[0].numel()
            total += output[0].numel() * per_value
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    hooks = [layer.register_forward_hook(add) for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    was_training = model.training
    parameter = next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, input_size, input_size, device=parameter.device, dtype=parameter.dtype))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return Complexity(count_parameters(model), total)
