from __future__ import annotations

import copy
import gc
import math
import weakref
from types import ModuleType

import pytest
import torch
from torch import nn

from facedistill.errors import UsageError
from facedistill.models import BACKBONES, build_backbone
from facedistill.models.features import FeatureTap
from facedistill.models.iresnet import IResNet
from facedistill.models.vit import VisionTransformer

NAMES = [entry.name for entry in BACKBONES]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("iresnet18", (512, 7, 7)),
        ("adaface-ir18", (512, 7, 7)),
        ("mobilefacenet", (512, 7, 7)),
        ("mbf", (512, 7, 7)),
        ("mobilenetv3", (960, 7, 7)),
        ("vit-tiny", (144, 256)),
    ],
)
def test_published_maps(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512)
    assert FeatureTap(backbone).shape_of(112) == shape


@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_gives_features_with_gradient(name: str) -> None:
    backbone = build_backbone(name, embedding_size=8, width=0.125, input_size=32)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    tap = FeatureTap(backbone)
    shape = tap.shape_of(32)
    # The layer behind them takes in all of their values, or one of each channel once the map is weighed together.
    behind = backbone.get_submodule("gather" if name.startswith("vit") else "embed")
    assert behind.in_features == (math.prod(shape) if name.startswith(("vit", "iresnet", "adaface")) else shape[0])
    assert all(layer.training for layer in backbone.modules())
    assert list(backbone.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    images = torch.randn(2, 3, 32, 32)
    for _ in range(2):
        backbone(images)
        features = tap.take()
        assert features.shape == (2, *shape)
        features.square().sum().backward()
        first = next(backbone.parameters())
        assert first.grad is not None
        assert first.grad.abs().sum() > 0
        first.grad = None


def small() -> nn.Module:
    return build_backbone("tinyfacenet", embedding_size=8, width=0.25, input_size=32)


def test_the_features_are_what_the_layer_gave() -> None:
    backbone = IResNet((1, 1, 1, 1), embedding_size=8, width=0.125, input_size=32).eval()
    tap = FeatureTap(backbone)
    images = torch.randn(2, 3, 32, 32)
    output = backbone(images)
    assert torch.equal(backbone.norm(backbone.embed(tap.take().flatten(1))), output)


def test_nothing_is_kept_once_it_is_taken() -> None:
    backbone = small()
    tap = FeatureTap(backbone)
    backbone(torch.randn(2, 3, 32, 32))
    features = tap.take()
    gone = weakref.ref(features)
    del features
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="not been called since"):
        tap.take()


def test_it_works_inside_a_wrapper_and_in_half_precision() -> None:
    backbone = small()
    tap = FeatureTap(backbone)
    wrapper = nn.Sequential(nn.Identity(), backbone)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wrapper(torch.randn(2, 3, 32, 32))
    assert tap.take().requires_grad
    with torch.no_grad():
        wrapper(torch.randn(2, 3, 32, 32))
    assert not tap.take().requires_grad


def test_a_copy_of_the_backbone_is_not_tapped() -> None:
    """The running average of the weights is a deep copy, made while features may wait to be taken."""
    backbone = small()
    tap = FeatureTap(backbone)
    images = torch.randn(2, 3, 32, 32)
    backbone(images)
    twin = copy.deepcopy(backbone)
    twin(torch.randn(5, 3, 32, 32))
    assert len(tap.take()) == 2
    twin(images)
    with pytest.raises(RuntimeError):
        tap.take()


def test_asking_for_the_shape_changes_nothing() -> None:
    backbone = small()
    backbone.get_submodule("norm").eval()
    modes = [layer.training for layer in backbone.modules()]
    tap = FeatureTap(backbone)
    backbone(torch.randn(2, 3, 32, 32))
    assert tap.shape_of(32) == (24, 2, 2)
    assert [layer.training for layer in backbone.modules()] == modes
    assert len(tap.take()) == 2


def test_a_removed_tap_keeps_nothing() -> None:
    backbone = small()
    tap = FeatureTap(backbone)
    tap.remove()
    backbone(torch.randn(2, 3, 32, 32))
    with pytest.raises(RuntimeError):
        tap.take()


def test_a_network_that_names_no_layer_is_refused() -> None:
    with pytest.raises(UsageError, match="a Linear does not say which of its layers"):
        FeatureTap(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (512, 2, 2)),
        ("mobilenetv4_conv_small", (960, 2, 2)),
        ("vit_tiny_patch16_224", (17, 192)),
        ("swin_tiny_patch4_window7_224", (768, 2, 2)),
    ],
)
def test_models_of_timm(timm: ModuleType, name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(f"timm:{name}", embedding_size=8, input_size=64)
    assert FeatureTap(backbone).shape_of(64) == shape


def test_a_model_of_timm_with_several_outputs_is_refused(timm: ModuleType) -> None:
    with torch.device("meta"):
        backbone = build_backbone("timm:pit_ti_224", embedding_size=8, input_size=64)
    with pytest.raises(UsageError, match="neither a map nor tokens"):
        FeatureTap(backbone).shape_of(64)


def test_tokens_come_behind_the_last_norm() -> None:
    backbone = VisionTransformer(4, embedding_size=8, width=0.25, input_size=32, depth=1)
    tap = FeatureTap(backbone)
    backbone(torch.randn(2, 3, 32, 32))
    tokens = tap.take()
    assert tokens.shape == (2, 9, 8)
    torch.testing.assert_close(tokens.mean(dim=2), torch.zeros(2, 9), atol=1e-6, rtol=0)
