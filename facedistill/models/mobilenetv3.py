"""MobileNetV3-Large (Howard et al., ICCV 2019, arXiv 1905.02244) as a student for faces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from facedistill.models.compact_net import CompactNet
from facedistill.models.layers import (
    ConvBlock,
    SqueezeExcite,
    multiple_of,
)
from facedistill.models.registry import BACKBONES

# Table 1 of the paper: kernel, channels of the expansion, output channels, gate, hard-swish (else ReLU), stride.
BOTTLENECKS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
STEM_CHANNELS = 16
LAST_CHANNELS = 960
# A gate squeezes to a quarter of the expansion (5.3 of the paper); channels are multiples of 8, as in its code.
SQUEEZE = 0.25
DIVISOR = 8


def relu(channels: int) -> nn.Module:
    """ReLU, whatever the channels."""
    return nn.ReLU()


def hard_swish(channels: int) -> nn.Module:
    """X relu6(x + 3) / 6, whatever the channels (5.2 of the paper)."""
    return nn.Hardswish()


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise, gate, linear 1x1 projection; a residual where stride and channels allow it."""

    def __init__(
        self,
        inputs: int,
        expanded: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        gated: bool,
        activation: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(ConvBlock(inputs, expanded, 1, activation=activation))
        layers.append(ConvBlock(expanded, expanded, kernel, stride=stride, groups=expanded, activation=activation))
        if gated:
            layers.append(SqueezeExcite(expanded, multiple_of(expanded * SQUEEZE, DIVISOR), activation=relu))
        layers.append(ConvBlock(expanded, outputs, 1, linear=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        output: torch.Tensor = self.layers(features)
        return features + output if self.residual else output


class MobileNetV3(CompactNet):
    """The trunk of MobileNetV3-Large, with a global depthwise convolution and a linear embedding in place of its top.

    3.51 M parameters and 215 M multiply-adds at width 1, 512-d, 112 x 112; the paper's net has 219 M.

    The stem has stride 1 where the paper's has 2: a face of 112 x 112 then passes through maps of the very sizes that
    the paper's 224 x 224 has from there on (7 x 7 at the end, and not 4 x 4), as in every net for faces here.

    Args:
        embedding_size: D.
        width: multiplier of every channel count.
        input_size: side of the square input in pixels.
    """

    def __init__(self, *, embedding_size: int = 512, width: float = 1.0, input_size: int = 112) -> None:
        channels = multiple_of(STEM_CHANNELS * width, DIVISOR)
        last = multiple_of(LAST_CHANNELS * width, DIVISOR)
        first = ConvBlock(3, channels, 3, activation=hard_swish)
        blocks: list[nn.Module] = []
        for kernel, expanded, outputs, gated, swish, stride in BOTTLENECKS:
            blocks.append(
                InvertedResidual(
                    channels,
                    multiple_of(expanded * width, DIVISOR),
                    multiple_of(outputs * width, DIVISOR),
                    kernel=kernel,
                    stride=stride,
                    gated=gated,
                    activation=hard_swish if swish else relu,
                )
            )
            channels = multiple_of(outputs * width, DIVISOR)
        super().__init__(
            first,
            blocks,
            channels=channels,
            last=last,
            embedding_size=embedding_size,
            input_size=input_size,
            activation=hard_swish,
        )


@BACKBONES.register(
    "mobilenetv3",
    summary="MobileNetV3-Large with a head for faces",
    source="arXiv 1905.02244",
    embedding_size=512,
)
def mobilenetv3(*, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """MobileNetV3-Large for faces at the given width."""
    return MobileNetV3(embedding_size=embedding_size, width=width, input_size=input_size)
