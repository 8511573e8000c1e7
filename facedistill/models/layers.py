"""Layers that the compact backbones share."""

from __future__ import annotations

import torch
from torch import nn


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, rounded to an even number of at least 4."""
    return max(4, 2 * round(channels * width / 2))


def final_map_size(input_size: int, stride: int) -> int:
    """Side of the last feature map after padded convolutions of the given total stride."""
    return -(-input_size // stride)


class ConvBlock(nn.Sequential):
    """Bias-free convolution and batch norm, with PReLU unless `linear`.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size.
        stride: stride of the convolution.
        groups: convolution groups; equal to `inputs` for a depthwise one.
        padding: defaults to half the kernel.
        linear: leave the activation out.
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
    ) -> None:
        padding = kernel // 2 if padding is None else padding
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if not linear:
            layers.append(nn.PReLU(outputs))
        super().__init__(*layers)


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
