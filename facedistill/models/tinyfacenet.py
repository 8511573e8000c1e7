"""TinyFaceNet: a depthwise-separable net for tests, demos and microcontrollers. Ours, not published."""

from __future__ import annotations

import torch
from torch import nn

from facedistill.models.layers import ConvBlock, final_map_size, initialise_convolutions, scaled
from facedistill.models.registry import BACKBONES

# Output channels and stride of the separable blocks that follow the stride-4 stem.
BLOCKS = ((32, 1), (64, 2), (64, 1), (96, 2))


class TinyFaceNet(nn.Module):
    """A stride-4 stem, four depthwise-separable blocks, a global depthwise convolution and a linear layer.

    Args:
        embedding_size: D.
        width: multiplier of every channel count.
        input_size: side of the square input in pixels.
    """

    def __init__(self, *, embedding_size: int = 64, width: float = 1.0, input_size: int = 112) -> None:
        super().__init__()
        channels = scaled(16, width)
        layers: list[nn.Module] = [ConvBlock(3, channels, 5, stride=4)]
        for outputs, stride in BLOCKS:
            layers.append(ConvBlock(channels, channels, 3, stride=stride, groups=channels))
            layers.append(ConvBlock(channels, scaled(outputs, width), 1))
            channels = scaled(outputs, width)
        self.blocks = nn.Sequential(*layers)
        self.pool = ConvBlock(
            channels, channels, final_map_size(input_size, 16), groups=channels, padding=0, linear=True
        )
        self.embed = nn.Linear(channels, embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(embedding_size)
        initialise_convolutions(self)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the last map, (N, C, S / 16, S / 16)."""
        return self.blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        output: torch.Tensor = self.norm(self.embed(self.pool(self.blocks(images)).flatten(1)))
        return output


@BACKBONES.register("tinyfacenet", summary="a very small net for tests and trials", source="ours", embedding_size=128)
def tinyfacenet(*, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """TinyFaceNet at the given width."""
    return TinyFaceNet(embedding_size=embedding_size, width=width, input_size=input_size)
