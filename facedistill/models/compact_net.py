"""The shape that MobileFaceNet gave the compact nets: stem, blocks, a global depthwise convolution, a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from facedistill.models.layers import ConvBlock, final_map_size, initialise_convolutions


class CompactNet(nn.Module):
    """Blocks of any kind, and the end that MobileFaceNet's successors share with it.

    Args:
        stem: the first layers.
        blocks: what follows; stem and blocks together have a stride of 16.
        channels: of the blocks' output.
        last: channels of the last map, before it becomes a vector.
        embedding_size: D.
        input_size: side of the square input in pixels; the global depthwise convolution spans the last map.
        activation: of the 1x1 convolution that makes the last map.
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: Sequence[nn.Module],
        *,
        channels: int,
        last: int,
        embedding_size: int,
        input_size: int,
        activation: Callable[[int], nn.Module] = nn.PReLU,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.expand = ConvBlock(channels, last, 1, activation=activation)
        # "Linear GDConv": each channel is weighed over the whole map, since a face's centre tells more than its rim.
        self.pool = ConvBlock(last, last, final_map_size(input_size, 16), groups=last, padding=0, linear=True)
        self.embed = nn.Linear(last, embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(embedding_size)
        initialise_convolutions(self)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the last map, (N, C, S / 16, S / 16)."""
        return self.expand

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        features = self.pool(self.expand(self.blocks(self.stem(images))))
        output: torch.Tensor = self.norm(self.embed(features.flatten(1)))
        return output
