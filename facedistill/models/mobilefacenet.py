"""MobileFaceNet (Chen et al., CCBR 2018, arXiv 1804.07573), with a width multiplier."""

from __future__ import annotations

import torch
from torch import nn

from facedistill.models.compact_net import CompactNet
from facedistill.models.layers import ConvBlock, scaled
from facedistill.models.registry import BACKBONES

# Table 1 of the paper: expansion factor t, channels c, repeats n, stride of the first repeat s.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a residual where stride and channels allow it."""

    def __init__(self, inputs: int, outputs: int, *, expanded: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            ConvBlock(inputs, expanded, 1),
            ConvBlock(expanded, expanded, 3, stride=stride, groups=expanded),
            ConvBlock(expanded, outputs, 1, linear=True),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        output: torch.Tensor = self.layers(features)
        return features + output if self.residual else output


class MobileFaceNet(CompactNet):
    """MobileFaceNet: 1.00 M parameters and 221 M multiply-adds at width 1, 128-d, 112 x 112.

    The expansion is taken from each block's input, as in the paper's table; the embedding is the output of a
    bias-free linear layer and a batch norm, as in the public ports.

    Args:
        embedding_size: D.
        width: multiplier of every channel count.
        input_size: side of the square input in pixels; the global depthwise convolution spans the last map.
    """

    def __init__(self, *, embedding_size: int = 128, width: float = 1.0, input_size: int = 112) -> None:
        stem, last = scaled(64, width), scaled(512, width)
        blocks: list[nn.Module] = []
        channels = stem
        for expansion, outputs, repeats, stride in BOTTLENECKS:
            for repeat in range(repeats):
                blocks.append(
                    Bottleneck(
                        channels,
                        scaled(outputs, width),
                        expanded=channels * expansion,
                        stride=stride if repeat == 0 else 1,
                    )
                )
                channels = scaled(outputs, width)
        first = nn.Sequential(ConvBlock(3, stem, 3, stride=2), ConvBlock(stem, stem, 3, groups=stem))
        super().__init__(
            first,
            blocks,
            channels=channels,
            last=last,
            embedding_size=embedding_size,
            input_size=input_size,
        )


@BACKBONES.register(
    "mobilefacenet", summary="the compact student, any width", source="arXiv 1804.07573", embedding_size=128
)
def mobilefacenet(*, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """MobileFaceNet at the given width."""
    return MobileFaceNet(embedding_size=embedding_size, width=width, input_size=input_size)
