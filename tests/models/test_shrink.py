from __future__ import annotations

import pytest
import torch
from torch import nn

from facedistill.models import build_backbone
from facedistill.models.shrink import is_depthwise, shrink_to


def test_each_kind_of_layer_takes_the_stored_shapes() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8, 4)
    )
    smaller = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.PReLU(5), nn.Conv2d(5, 5, 3, groups=5), nn.Flatten(), nn.Linear(5, 4)
    )
    net[0].weight.requires_grad_(False)
    state = smaller.state_dict()
    shrink_to(net, {name: tensor.shape for name, tensor in state.items()})
    net.load_state_dict(state)
    images = torch.randn(2, 3, 5, 5)
    assert torch.equal(net.eval()(images), smaller.eval()(images))
    assert repr(net) == repr(smaller)
    assert [value.requires_grad for value in net.parameters()] == [False] + [True] * (len(list(net.parameters())) - 1)


def test_a_network_of_the_stored_shapes_keeps_its_values() -> None:
    net = build_backbone("mobilefacenet", embedding_size=8, width=0.25, input_size=32)
    before = dict(net.named_parameters())
    shrink_to(net, {name: tensor.shape for name, tensor in net.state_dict().items()})
    assert all(value is before[name] for name, value in net.named_parameters())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 4, 3, bias=False), (4, 4, 5, 5)),  # another kernel
        (nn.Conv2d(4, 8, 3, groups=2, bias=False), (4, 2, 3, 3)),  # a grouped convolution
        (nn.LayerNorm(4, bias=False), (3,)),  # a kind of layer that pruning leaves alone
        (nn.Linear(4, 4, bias=False), (4,)),
        (nn.Linear(4, 4, bias=False), ()),
    ],
)
def test_what_no_removal_explains_is_left_alone(layer: nn.Module, shape: tuple[int, ...]) -> None:
    net = nn.Sequential(layer)
    before = layer.weight.shape
    shrink_to(net, {"0.weight": torch.Size(shape)})
    assert net[0].weight.shape == before


def test_a_tensor_that_is_not_stored_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3))
    shrink_to(net, {"0.weight": torch.Size((2, 4, 3, 3))})
    assert net[0].weight.shape == (4, 4, 3, 3)


def test_depthwise() -> None:
    assert is_depthwise(nn.Conv2d(4, 4, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(4, 8, 3, groups=4))
    assert not is_depthwise(nn.Conv2d(1, 1, 3))
