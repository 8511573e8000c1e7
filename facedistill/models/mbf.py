"""arcface_torch's "mbf" ("mobilefacenet-0.45G"): MobileFaceNet's blocks on a wider trunk, not the paper's network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from facedistill.models.compact_net import CompactNet
from facedistill.models.layers import ConvBlock, scaled
from facedistill.models.mobilefacenet import Bottleneck
from facedistill.models.registry import BACKBONES

# Trunk scale, and residual blocks at strides 2, 4, 8 and 16. A single block at stride 2 is a grouped convolution.
SMALL = (2, (1, 4, 6, 2))
LARGE = (4, (2, 8, 12, 4))
# Of the stages at strides 4, 8 and 16: trunk channels before scaling, expanded channels of the block that shrinks the
# map, and of the residual blocks after it. The expansion does not grow with the trunk, which is what keeps it cheap.
STAGES = ((64, 128, 128), (128, 256, 256), (128, 512, 256))


class MBF(CompactNet):
    """2.06 M parameters and 437.5 M multiply-adds at scale 2, 512-d, 112 x 112.

    Args:
        scale: multiplier of the trunk's channels alone.
        repeats: residual blocks at strides 2, 4, 8 and 16.
        embedding_size: D.
        width: multiplier of every channel count.
        input_size: side of the square input in pixels; the global depthwise convolution spans the last map.
    """

    def __init__(
        self,
        scale: int,
        repeats: Sequence[int],
        *,
        embedding_size: int = 512,
        width: float = 1.0,
        input_size: int = 112,
    ) -> None:
        # The grouped convolution has as many groups as the unscaled trunk has channels.
        groups = scaled(64, width)
        channels, last = groups * scale, scaled(512, width)
        first = ConvBlock(3, channels, 3, stride=2)
        blocks: list[nn.Module] = []
        if repeats[0] == 1:
            blocks.append(ConvBlock(channels, channels, 3, groups=groups))
        else:
            for _ in range(repeats[0]):
                blocks.append(Bottleneck(channels, channels, expanded=scaled(128, width), stride=1))
        for (trunk, shrinking, expanded), repeat in zip(STAGES, repeats[1:], strict=True):
            outputs = scaled(trunk, width) * scale
            blocks.append(Bottleneck(channels, outputs, expanded=scaled(shrinking, width), stride=2))
            for _ in range(repeat):
                blocks.append(Bottleneck(outputs, outputs, expanded=scaled(expanded, width), stride=1))
            channels = outputs
        super().__init__(
            first,
            blocks,
            channels=channels,
            last=last,
            embedding_size=embedding_size,
            input_size=input_size,
        )


def build_mbf(scale: int, repeats: Sequence[int], *, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """An MBF of the given scale and repeats."""
    return MBF(scale, repeats, embedding_size=embedding_size, width=width, input_size=input_size)


BACKBONES.register(
    "mbf", summary="insightface's compact net, for its published weights", source="arcface_torch", embedding_size=512
)(partial(build_mbf, *SMALL))
BACKBONES.register("mbf-large", summary="insightface's larger compact net", source="arcface_torch", embedding_size=512)(
    partial(build_mbf, *LARGE)
)
