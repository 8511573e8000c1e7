from __future__ import annotations

import pytest
import torch
from torch import nn

from facedistill.models.complexity import count_parameters, measure_complexity
from facedistill.models.layers import SqueezeExcite
from facedistill.models.mobilenetv3 import MobileNetV3

# Parameters of the convolutional part of torchvision's mobilenet_v3_large, counted with torchvision 0.28.
TORCHVISION_TRUNK = 2_971_952


def test_the_trunk_has_the_parameters_of_torchvisions() -> None:
    with torch.device("meta"):
        backbone = MobileNetV3(embedding_size=512)
    trunk = sum(count_parameters(part) for part in (backbone.stem, backbone.blocks, backbone.expand))
    assert trunk == TORCHVISION_TRUNK


def test_counts_are_near_the_published_ones() -> None:
    with torch.device("meta"):
        backbone = MobileNetV3(embedding_size=512)
    complexity = measure_complexity(backbone, input_size=112)
    # The paper's 219 M hold a classifier of 1000 classes (2.5 M), and no global depthwise convolution.
    assert complexity.multiply_adds / 1e6 == pytest.approx(219, rel=0.025)
    assert complexity.parameters == TORCHVISION_TRUNK + 960 * 49 + 2 * 960 + 960 * 512 + 2 * 512


def test_layer_table() -> None:
    """Output channels and map, gates, activations and residuals of each block, as in Table 1 of the paper at 224."""
    backbone = MobileNetV3(embedding_size=512).eval()
    shapes: list[tuple[int, ...]] = []
    for layer in (backbone.stem, *backbone.blocks, backbone.expand, backbone.pool):
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        backbone(torch.zeros(1, 3, 112, 112))
    table = [(16, 112, 112)] * 2 + [(24, 56, 56)] * 2 + [(40, 28, 28)] * 3 + [(80, 14, 14)] * 4
    table += [(112, 14, 14)] * 2 + [(160, 7, 7)] * 3
    assert shapes == [*table, (960, 7, 7), (960, 1, 1)]
    kinds = [
        (
            any(isinstance(layer, SqueezeExcite) for layer in block.modules()),
            any(isinstance(layer, nn.Hardswish) for layer in block.modules()),
            block.residual,
        )
        for block in backbone.blocks
    ]
    assert [index for index, (gated, _, _) in enumerate(kinds) if gated] == [3, 4, 5, 10, 11, 12, 13, 14]
    assert [index for index, (_, swish, _) in enumerate(kinds) if swish] == list(range(6, 15))
    assert [index for index, (_, _, residual) in enumerate(kinds) if residual] == [0, 2, 4, 5, 7, 8, 9, 11, 13, 14]


def test_oracle_torchvision_at_twice_the_size(torchvision_models: object) -> None:
    """Its trunk with our weights in it gives our maps, once its stem has our stride."""
    torch.manual_seed(0)
    ours = MobileNetV3(embedding_size=8).eval()
    theirs = torchvision_models.mobilenet_v3_large().features.eval()  # type: ignore[attr-defined]
    theirs[0][0].stride = (1, 1)
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
    tensors = [tensor for part in (ours.stem, ours.blocks, ours.expand) for name, tensor in part.state_dict().items()]
    names = list(theirs.state_dict())
    assert len(names) == len(tensors)
    theirs.load_state_dict(dict(zip(names, tensors, strict=True)))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.expand(ours.blocks(ours.stem(images))), theirs(images))
