from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from facedistill.models.complexity import measure_complexity
from facedistill.models.ghostfacenet import GhostBottleneck, GhostFaceNet, GhostModule


def test_counts_are_near_the_published_ones() -> None:
    with torch.device("meta"):
        backbone = GhostFaceNet(width=1.3, embedding_size=512)
    complexity = measure_complexity(backbone, input_size=112)
    assert complexity.parameters == 4_059_748
    # METHODS: 4.1 M and 216 M. The authors' framework counts the batch norms' statistics among the parameters.
    assert complexity.fp32_bytes / 4 / 1e6 == pytest.approx(4.1, rel=0.005)
    assert complexity.multiply_adds / 1e6 == pytest.approx(216, rel=0.02)


def test_layer_table() -> None:
    """Output channels and map of each block, and where the gates are, as in the authors' code at width 1."""
    backbone = GhostFaceNet(width=1.0, embedding_size=512).eval()
    shapes: list[tuple[int, ...]] = []
    for layer in (backbone.stem, *backbone.blocks, backbone.expand, backbone.pool):
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        backbone(torch.zeros(1, 3, 112, 112))
    table = [(16, 112, 112)] * 2 + [(24, 56, 56)] * 2 + [(40, 28, 28)] * 2 + [(80, 14, 14)] * 4
    table += [(112, 14, 14)] * 2 + [(160, 7, 7)] * 5
    assert shapes == [*table, (512, 7, 7), (512, 1, 1)]
    gated = [any(type(layer).__name__ == "SqueezeExcite" for layer in block.layers) for block in backbone.blocks]  # type: ignore[union-attr]
    assert [index for index, has in enumerate(gated) if has] == [3, 4, 9, 10, 11, 13, 15]
    plain = [isinstance(block.shortcut, nn.Identity) for block in backbone.blocks]
    assert [index for index, identity in enumerate(plain) if identity] == [0, 2, 4, 6, 7, 8, 10, 12, 13, 14, 15]
    assert not any(isinstance(layer, nn.ReLU) for layer in backbone.modules())


def test_a_ghost_module_makes_half_of_its_channels_from_the_other_half() -> None:
    torch.manual_seed(0)
    module = GhostModule(6, 10).eval()
    features = torch.randn(2, 6, 9, 9)
    output = module(features)
    assert output.shape == (2, 10, 9, 9)
    # A fresh batch norm in eval mode divides by sqrt(1 + eps) only.
    scale = (1 + 1e-5) ** -0.5
    slopes = torch.full((5,), 0.25)
    weight = module.primary[0].weight[:, :, 0, 0]  # type: ignore[index]
    primary = functional.prelu(torch.einsum("oi,nihw->nohw", weight, features) * scale, slopes)
    padded = functional.pad(primary, (1, 1, 1, 1))
    cheap = torch.zeros_like(primary)
    for row in range(3):
        for column in range(3):
            weight = module.cheap[0].weight[:, 0, row, column]  # type: ignore[index]
            cheap += weight[None, :, None, None] * padded[:, :, row : row + 9, column : column + 9]
    torch.testing.assert_close(output[:, :5], primary)
    torch.testing.assert_close(output[:, 5:], functional.prelu(cheap * scale, slopes))


def test_a_linear_ghost_module_passes_negative_values_unchanged() -> None:
    torch.manual_seed(0)
    module = GhostModule(4, 8, linear=True).eval()
    features = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(module(-features), -module(features))


@pytest.mark.parametrize(("stride", "outputs", "identity"), [(1, 8, True), (1, 12, False), (2, 8, False)])
def test_the_shortcut_is_the_input_where_shapes_allow_it(stride: int, outputs: int, identity: bool) -> None:
    block = GhostBottleneck(8, 16, outputs, kernel=3, stride=stride, gated=True).eval()
    features = torch.randn(2, 8, 10, 10)
    output = block(features)
    assert output.shape == (2, outputs, 10 // stride, 10 // stride)
    assert isinstance(block.shortcut, nn.Identity) is identity
    torch.testing.assert_close(output - block.layers(features), block.shortcut(features))
