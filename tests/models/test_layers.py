from __future__ import annotations

import pytest
import torch
from torch import nn

from facedistill.models.layers import SqueezeExcite, multiple_of


@pytest.mark.parametrize(
    ("channels", "divisor", "expected"),
    [
        # 20.8 is nearer to 20 than to 24; 665.6 to 664 than to 668.
        (20.8, 4, 20),
        (665.6, 4, 664),
        # The channels of MobileNetV3-Large's gates, a quarter of the expansion: 18 and 30 as its code rounds them.
        (18, 8, 24),
        (30, 8, 32),
        (2, 8, 8),
        # 11 is nearer to 8, but 8 is more than 10 % less.
        (11, 8, 16),
        (36, 8, 40),
        (8.8, 8, 8),
    ],
)
def test_multiple_of(channels: float, divisor: int, expected: int) -> None:
    assert multiple_of(channels, divisor) == expected


def test_a_gate_scales_each_channel_by_what_all_means_say() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcite(6, 4, activation=nn.PReLU)
    features = torch.randn(3, 6, 5, 7)
    first, activation, second = (part.requires_grad_(False) for part in (layer.gate[1], layer.gate[2], layer.gate[3]))
    expected = torch.empty_like(features)
    for image in range(3):
        means = [float(features[image, channel].mean()) for channel in range(6)]
        squeezed = []
        for row in range(4):
            value = sum(float(first.weight[row, channel]) * means[channel] for channel in range(6))
            value += float(first.bias[row])
            squeezed.append(value if value > 0 else value * float(activation.weight[row]))
        for channel in range(6):
            value = sum(float(second.weight[channel, row]) * squeezed[row] for row in range(4))
            gate = min(1.0, max(0.0, (value + float(second.bias[channel])) / 6 + 0.5))
            expected[image, channel] = features[image, channel] * gate
    torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize(("bias", "gate"), [(-3.0, 0.0), (0.0, 0.5), (1.5, 0.75), (3.0, 1.0), (9.0, 1.0)])
def test_a_gate_is_shut_below_minus_three_and_open_above_three(bias: float, gate: float) -> None:
    layer = SqueezeExcite(4, 2, activation=nn.PReLU)
    nn.init.zeros_(layer.gate[3].weight)
    nn.init.constant_(layer.gate[3].bias, bias)
    features = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(layer(features), features * gate)
