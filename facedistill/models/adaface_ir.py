"""The IR networks of AdaFace (arXiv 2204.00964) and TFace: IResNet but for one shortcut and the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from facedistill.models.iresnet import STAGE_CHANNELS
from facedistill.models.layers import final_map_size, initialise_convolutions, scaled
from facedistill.models.registry import BACKBONES

# The public code's own names: what it calls 101 has the 100 layers of iresnet100.
DEPTHS = {
    "adaface-ir18": (2, 2, 2, 2),
    "adaface-ir34": (3, 4, 6, 3),
    "adaface-ir50": (3, 4, 14, 3),
    "adaface-ir101": (3, 13, 30, 3),
}
# Share of the last map's values that are dropped in training, as in the public code.
DROPOUT = 0.4


class IRUnit(nn.Module):
    """BN, conv 3x3, BN, PReLU, conv 3x3 (strided), BN, plus the shortcut.

    Where the channels stay the same the shortcut picks every `stride`-th pixel, and has no weights even where the
    map shrinks; IResNet has a convolution there.
    """

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
        self.shortcut: nn.Module
        if inputs == outputs:
            self.shortcut = nn.MaxPool2d(1, stride) if stride != 1 else nn.Identity()
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        output: torch.Tensor = self.layers(features) + self.shortcut(features)
        return output


class AdaFaceIR(nn.Module):
    """An IR network; the embedding's batch norm has no weights, and values of the last map are dropped in training.

    AdaFace's code returns the normalised embedding and its norm; this one returns their product.

    Args:
        depths: units in each of the four stages; the first unit of each stage has stride 2.
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
        units: list[nn.Module] = []
        for depth, stage in zip(depths, STAGE_CHANNELS, strict=True):
            outputs = scaled(stage, width)
            for unit in range(depth):
                units.append(IRUnit(channels, outputs, stride=2 if unit == 0 else 1))
                channels = outputs
        self.blocks = nn.Sequential(*units)
        self.tail = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(DROPOUT)
        self.embed = nn.Linear(channels * final_map_size(input_size, 16) ** 2, embedding_size)
        self.norm = nn.BatchNorm1d(embedding_size, affine=False)
        initialise_convolutions(self)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the last map, (N, C, S / 16, S / 16)."""
        return self.tail

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        features = self.dropout(self.tail(self.blocks(self.stem(images))))
        output: torch.Tensor = self.norm(self.embed(features.flatten(1)))
        return output


def build_adaface_ir(depths: Sequence[int], *, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """An IR network of the given depths."""
    return AdaFaceIR(depths, embedding_size=embedding_size, width=width, input_size=input_size)


for _name, _depths in DEPTHS.items():
    BACKBONES.register(_name, summary="a teacher of the AdaFace family", source="arXiv 2204.00964", embedding_size=512)(
        partial(build_adaface_ir, _depths)
    )
