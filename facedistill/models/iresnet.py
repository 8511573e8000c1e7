"""IResNet, the improved residual network that ArcFace-style teachers use (ArcFace, arXiv 1801.07698)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from facedistill.models.layers import final_map_size, scaled
from facedistill.models.registry import BACKBONES

STAGE_CHANNELS = (64, 128, 256, 512)
DEPTHS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}


class IBasicBlock(nn.Module):
    """BN, conv 3x3, BN, PReLU, conv 3x3 (strided), BN, plus the shortcut; no activation after the sum."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        output: torch.Tensor = self.layers(features) + self.shortcut(features)
        return output


class IResNet(nn.Module):
    """IResNet: 24.0, 34.1, 43.6, 65.2 and 118.8 M parameters at depths 18, 34, 50, 100 and 200 with D = 512.

    Args:
        depths: blocks in each of the four stages; the first block of each stage has stride 2.
        embedding_size: D.
        width: multiplier of the stages' channels.
        input_size: side of the square input in pixels.
    """

    def __init__(
        self, depths: Sequence[int], *, embedding_size: int = 512, width: float = 1.0, input_size: int = 112
    ) -> None:
        super().__init__()
        channels = scaled(STAGE_CHANNELS[0], width)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.PReLU(channels)
        )
        blocks: list[nn.Module] = []
        for depth, stage in zip(depths, STAGE_CHANNELS, strict=True):
            outputs = scaled(stage, width)
            for block in range(depth):
                blocks.append(IBasicBlock(channels, outputs, stride=2 if block == 0 else 1))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.tail = nn.BatchNorm2d(channels)
        self.embed = nn.Linear(channels * final_map_size(input_size, 16) ** 2, embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size)
        nn.init.ones_(self.norm.weight)
        # The embedding's scale is left to the head; only the bias of the last batch norm is trained.
        self.norm.weight.requires_grad_(False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.1)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the last map, (N, C, S / 16, S / 16)."""
        return self.tail

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        features = self.tail(self.blocks(self.stem(images)))
        output: torch.Tensor = self.norm(self.embed(features.flatten(1)))
        return output


def build_iresnet(depths: Sequence[int], *, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """An IResNet of the given depths."""
    return IResNet(depths, embedding_size=embedding_size, width=width, input_size=input_size)


for _name, _depths in DEPTHS.items():
    BACKBONES.register(_name, summary="a teacher of the ArcFace family", source="arXiv 1801.07698", embedding_size=512)(
        partial(build_iresnet, _depths)
    )
