"""Layers that the compact backbones share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, rounded to an even number of at least 4."""
    return max(4, 2 * round(channels * width / 2))


def multiple_of(channels: float, divisor: int) -> int:
    """`channels` rounded to a multiple of `divisor`, at least one of it and at most 10 % less than asked for.

    The rule by which the MobileNet family rounds scaled channels (arXiv 1801.04381, its code).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def final_map_size(input_size: int, stride: int) -> int:
    """Side of the last feature map after padded convolutions of the given total stride."""
    return -(-input_size // stride)


class ConvBlock(nn.Sequential):
    """Bias-free convolution and batch norm, with an activation unless `linear`.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size.
        stride: stride of the convolution.
        groups: convolution groups; equal to `inputs` for a depthwise one.
        padding: defaults to half the kernel.
        linear: leave the activation out.
        activation: makes the activation for a number of channels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        linear: bool = False,
        activation: Callable[[int], nn.Module] = nn.PReLU,
    ) -> None:
        padding = kernel // 2 if padding is None else padding
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if not linear:
            layers.append(activation(outputs))
        super().__init__(*layers)


class SqueezeExcite(nn.Module):
    """A gate for each channel from the means of all channels (arXiv 1709.01507), hard as in arXiv 1905.02244.

    Args:
        channels: of the input and the output.
        squeezed: channels between the two 1x1 convolutions.
        activation: makes the activation for a number of channels.
    """

    def __init__(self, channels: int, squeezed: int, *, activation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            activation(squeezed),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same, each channel times its gate of 0 to 1."""
        output: torch.Tensor = features * self.gate(features)
        return output


def initialise_convolutions(module: nn.Module) -> None:
    """Kaiming-normal weights (fan-out) for convolutions and linear layers, as the public MobileFaceNet ports do."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def channels_last(backbone: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out with the channels last, which is the faster order on CPU and GPU alike."""
    for parameter in backbone.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return backbone
