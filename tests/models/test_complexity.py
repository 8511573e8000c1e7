from __future__ import annotations

import pytest
import torch
from safetensors.torch import save
from torch import nn

from facedistill.models import build_backbone
from facedistill.models.complexity import measure_complexity
from facedistill.models.layers import ConvBlock


def test_a_small_net_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=True),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        ConvBlock(8, 8, 3, groups=8),
        ConvBlock(8, 12, 1, linear=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    complexity = measure_complexity(net, input_size=10)
    # Maps of 5 x 5; biases, norms, activations and pooling cost nothing.
    assert complexity.multiply_adds == 25 * (8 * 27 + 8 * 9 + 12 * 8) + 12 * 5
    assert complexity.parameters == (8 * 27 + 8) + 16 + 8 + (72 + 16 + 8) + (96 + 24) + (60 + 5)
    # Two statistics for each of the 28 channels of batch norms, and three counters of batches of 8 bytes.
    assert complexity.fp32_bytes == 4 * (complexity.parameters + 2 * 28) + 3 * 8


@pytest.mark.parametrize("name", ["tinyfacenet", "mobilenetv3", "ghostfacenet", "vit-tiny", "mobilefacenet"])
def test_the_meta_device_and_the_cpu_count_alike(name: str) -> None:
    real = measure_complexity(build_backbone(name, embedding_size=8, width=0.25, input_size=64), input_size=64)
    with torch.device("meta"):
        outline = build_backbone(name, embedding_size=8, width=0.25, input_size=64)
    assert measure_complexity(outline, input_size=64) == real
    assert real.multiply_adds > 0


@pytest.mark.parametrize("name", ["iresnet18", "mbf", "adaface-ir18", "ghostfacenet", "mobilenetv3", "mobilefacenet"])
def test_oracle_hooks_on_convolutions_and_linear_layers(name: str) -> None:
    """The same by another way, for backbones whose multiply-adds are all in such layers."""
    with torch.device("meta"):
        net = build_backbone(name, embedding_size=16, width=0.25, input_size=64)
    counted: list[int] = []

    def count(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
        counted.append(output[0].numel() * layer.weight[0].numel())  # type: ignore[operator,index]

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    complexity = measure_complexity(net, input_size=64)
    assert complexity.multiply_adds == sum(counted) > 0


def test_the_size_is_that_of_the_saved_tensors() -> None:
    net = build_backbone("mobilenetv3", embedding_size=8, width=0.25, input_size=64)
    header = int.from_bytes(save(net.state_dict())[:8], "little") + 8
    assert measure_complexity(net, input_size=64).fp32_bytes == len(save(net.state_dict())) - header
    # Weights kept in half precision have the same size in float32.
    assert measure_complexity(net.half(), input_size=64).fp32_bytes == len(save(net.float().state_dict())) - header


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_the_model_alone(training: bool) -> None:
    net = build_backbone("tinyfacenet", embedding_size=8).train(training)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    measure_complexity(net, input_size=112)
    assert net.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
