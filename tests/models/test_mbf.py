from __future__ import annotations

import pytest
import torch
from torch import nn

from facedistill.models import build_backbone
from facedistill.models.complexity import measure_complexity
from facedistill.models.mbf import MBF
from facedistill.models.registry import default_embedding_size


def test_published_counts() -> None:
    with torch.device("meta"):
        backbone = build_backbone("mbf", embedding_size=512)
    complexity = measure_complexity(backbone, input_size=112)
    assert complexity.parameters / 1e6 == pytest.approx(2.06, rel=1e-3)
    assert complexity.multiply_adds / 1e6 == pytest.approx(437.5, rel=1e-3)
    assert default_embedding_size("mbf") == default_embedding_size("mbf-large") == 512


@pytest.mark.parametrize(
    ("name", "trunk", "repeats"), [("mbf", (128, 256), (0, 4, 6, 2)), ("mbf-large", (256, 512), (2, 8, 12, 4))]
)
def test_layer_table(name: str, trunk: tuple[int, int], repeats: tuple[int, ...]) -> None:
    """Channels, expansion, stride and residual of each block, in the order of arcface_torch's definition."""
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512)
    assert isinstance(backbone, MBF)
    narrow, wide = trunk
    table = [(narrow, narrow, 128, 1)] * repeats[0]
    table += [(narrow, narrow, 128, 2), *[(narrow, narrow, 128, 1)] * repeats[1]]
    table += [(narrow, wide, 256, 2), *[(wide, wide, 256, 1)] * repeats[2]]
    table += [(wide, wide, 512, 2), *[(wide, wide, 256, 1)] * repeats[3]]
    blocks = list(backbone.blocks)
    if repeats[0] == 0:
        grouped = blocks.pop(0)[0]  # type: ignore[index]
        assert (grouped.in_channels, grouped.out_channels, grouped.groups, grouped.stride) == (128, 128, 64, (1, 1))
    convolutions = [[module for module in block.modules() if isinstance(module, nn.Conv2d)] for block in blocks]
    assert [(a.in_channels, c.out_channels, b.groups, b.stride[0]) for a, b, c in convolutions] == table
    assert [block.residual for block in blocks] == [stride == 1 for *_, stride in table]


def test_width_keeps_the_groups_whole() -> None:
    for width in (0.1, 0.3, 1.5):
        backbone = build_backbone("mbf", embedding_size=8, width=width, input_size=32)
        assert backbone.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 8)
