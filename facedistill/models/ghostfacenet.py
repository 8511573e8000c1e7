"""GhostFaceNetV1 (Alansari et al., IEEE Access 2023): GhostNet (arXiv 1911.11907) made fit for faces."""

from __future__ import annotations

import torch
from torch import nn

from facedistill.models.compact_net import CompactNet
from facedistill.models.layers import (
    ConvBlock,
    SqueezeExcite,
    multiple_of,
)
from facedistill.models.registry import BACKBONES

# Layer table of the authors' code (github HamadYA/GhostFaceNets): kernel of the depthwise convolutions, channels of the
# expansion, output channels, whether a squeeze-and-excite gate follows, stride. It is GhostNet's but for its last row,
# where GhostNet expands to 960, and for the 1x1 convolution behind it.
BOTTLENECKS = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 512, 160, True, 1),
)
STEM_CHANNELS = 16
LAST_CHANNELS = 512
SQUEEZE = 0.25
# Every channel count is a multiple of this one, so that a ghost module can halve it.
DIVISOR = 4


class GhostModule(nn.Module):
    """Half the outputs by a 1x1 convolution, the other half by a cheap depthwise 3x3 of the first (GhostNet, 3.1)."""

    def __init__(self, inputs: int, outputs: int, *, linear: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.primary = ConvBlock(inputs, half, 1, linear=linear)
        self.cheap = ConvBlock(half, half, 3, groups=half, linear=linear)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W); `outputs` is even."""
        primary = self.primary(features)
        return torch.cat([primary, self.cheap(primary)], dim=1)


class GhostBottleneck(nn.Module):
    """Ghost expansion, strided depthwise where stride > 1, gate, linear ghost projection, plus the shortcut."""

    def __init__(self, inputs: int, expanded: int, outputs: int, *, kernel: int, stride: int, gated: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [GhostModule(inputs, expanded)]
        if stride > 1:
            layers.append(ConvBlock(expanded, expanded, kernel, stride=stride, groups=expanded, linear=True))
        if gated:
            layers.append(SqueezeExcite(expanded, multiple_of(expanded * SQUEEZE, DIVISOR), activation=nn.PReLU))
        layers.append(GhostModule(expanded, outputs, linear=True))
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                ConvBlock(inputs, inputs, kernel, stride=stride, groups=inputs, linear=True),
                ConvBlock(inputs, outputs, 1, linear=True),
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        output: torch.Tensor = self.layers(features) + self.shortcut(features)
        return output


class GhostFaceNet(CompactNet):
    """GhostFaceNetV1 with a stem of stride 1: 4.06 M parameters and 212 M multiply-adds at width 1.3, 512-d, 112 x 112.

    Published are 4.1 M and 216 M, 1 and 2 % more; the batch norms' statistics, 0.03 M, are among the parameters there.
    The PReLU in place of every ReLU, the gates, the global depthwise convolution and the bias-free embedding with its
    batch norm follow the authors' code. The gates' hard sigmoid is that of MobileNetV3; Keras's has another slope.

    Args:
        embedding_size: D.
        width: multiplier of every channel count.
        input_size: side of the square input in pixels.
    """

    def __init__(self, *, embedding_size: int = 512, width: float = 1.3, input_size: int = 112) -> None:
        channels = multiple_of(STEM_CHANNELS * width, DIVISOR)
        last = multiple_of(LAST_CHANNELS * width, DIVISOR)
        first = ConvBlock(3, channels, 3)
        blocks: list[nn.Module] = []
        for kernel, expanded, outputs, gated, stride in BOTTLENECKS:
            blocks.append(
                GhostBottleneck(
                    channels,
                    multiple_of(expanded * width, DIVISOR),
                    multiple_of(outputs * width, DIVISOR),
                    kernel=kernel,
                    stride=stride,
                    gated=gated,
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
        )


@BACKBONES.register(
    "ghostfacenet",
    summary="a compact student, published at width 1.3",
    source="doi 10.1109/ACCESS.2023.3266068",
    embedding_size=512,
)
def ghostfacenet(*, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """GhostFaceNetV1 at the given width."""
    return GhostFaceNet(embedding_size=embedding_size, width=width, input_size=input_size)
