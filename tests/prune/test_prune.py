from __future__ import annotations

import copy
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn

from facedistill.checkpoint import Checkpoint
from facedistill.errors import UsageError
from facedistill.models.complexity import measure_complexity
from facedistill.prune import prune as prune_module
from facedistill.prune.choice import FLOOR, choose
from facedistill.prune.groups import find_groups, require_known_layers
from facedistill.prune.prune import channels_left, prune

from .made_networks import EMBEDDING_SIZE, SIZE, make_checkpoint, masked

pytest.importorskip("torch_pruning")

QUICK = ("tinyfacenet", "mobilefacenet", "iresnet18", "adaface-ir18", "mobilenetv3", "mbf")
ALL = [
    *QUICK,
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("ghostfacenet", "mbf-large", "iresnet50")),
]


@pytest.mark.parametrize("name", ALL)
def test_a_network_without_channels_gives_what_it_gives_with_them_at_zero(name: str) -> None:
    checkpoint = make_checkpoint(name)
    before = {key: value.clone() for key, value in checkpoint.backbone.state_dict().items()}
    result = prune(checkpoint, ratio=0.3)
    groups = find_groups(copy.deepcopy(checkpoint.backbone), SIZE)
    removed = choose(groups, lambda gone: channels_left(groups, gone), 0.7, what="channels")
    images = torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = masked(checkpoint.backbone, groups, removed)(images)
        given, whole = result.checkpoint.backbone(images), checkpoint.backbone(images)
    assert given.shape == (3, EMBEDDING_SIZE)
    # Of unit length, so that the tolerance means the same for every network.
    expected, given, whole = (nn.functional.normalize(each) for each in (expected, given, whole))
    assert (given - expected).abs().max() < 1e-5
    assert (whole - expected).abs().max() > 1e-2
    assert all(torch.equal(value, before[key]) for key, value in checkpoint.backbone.state_dict().items())
    assert result.after.parameters < 0.9 * result.before.parameters


@pytest.mark.parametrize(
    ("name", "width", "macs"),
    [
        ("mobilefacenet", 0.5, 0.5),
        ("mobilefacenet", 0.5, 0.2),
        ("iresnet18", 0.25, 0.5),
        ("tinyfacenet", 1.0, 0.75),
        ("mobilenetv3", 0.5, 0.5),
    ],
)
def test_the_multiply_adds_asked_for_are_reached(name: str, width: float, macs: float) -> None:
    result = prune(make_checkpoint(name, width), macs=macs)
    backbone = result.checkpoint.backbone
    assert result.after == measure_complexity(backbone, input_size=SIZE)
    assert result.after.multiply_adds / result.before.multiply_adds == pytest.approx(macs, abs=0.02 * macs)
    for layer in backbone.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):  # what a layer says of itself is what it is
            inputs, outputs = (
                (layer.in_channels // layer.groups, layer.out_channels)
                if isinstance(layer, nn.Conv2d)
                else (layer.in_features, layer.out_features)
            )
            assert layer.weight.shape[:2] == (outputs, inputs)


def test_every_layer_keeps_its_floor() -> None:
    checkpoint = make_checkpoint("mobilefacenet", 0.5)
    with torch.no_grad():  # the ranking would have all of this layer go
        for part in checkpoint.backbone.get_submodule("blocks.3.layers.0").parameters():
            part *= 1e-3
    backbone = prune(checkpoint, macs=0.2).checkpoint.backbone
    for name, layer in checkpoint.backbone.named_modules():
        if isinstance(layer, nn.Conv2d):
            left = backbone.get_submodule(name).out_channels
            assert FLOOR * layer.out_channels <= left <= layer.out_channels, name


def test_the_channel_that_weighs_nothing_is_the_one_that_goes() -> None:
    checkpoint = make_checkpoint("tinyfacenet", 1.0)
    before = checkpoint.backbone.state_dict()
    # blocks.2 makes the channel, the depthwise blocks.3 passes it on, blocks.4 reads it.
    of_channel = ["2.0.weight", "2.1.weight", "2.1.bias", "2.2.weight", "3.0.weight", "3.1.weight", "3.1.bias"]
    for name in of_channel:
        before[f"blocks.{name}"][5] = 0
    before["blocks.4.0.weight"][:, 5] = 0
    result = prune(checkpoint, ratio=1 / 272)  # of 16 + 32 + 64 + 64 + 96 channels
    after = result.checkpoint.backbone.state_dict()
    rest = torch.tensor([channel for channel in range(32) if channel != 5])
    for name, value in before.items():
        if name == "blocks.4.0.weight":
            value = value[:, rest]
        elif name.startswith(("blocks.2.", "blocks.3.")) and value.ndim:
            value = value[rest]
        assert torch.equal(after[name], value), name
    assert result.cosine == pytest.approx(1, abs=1e-6)
    assert result.channels == {16: (64, 63), 8: (224, 223), 4: (160, 160), 1: (96, 96)}


def test_what_was_pruned_before_can_be_pruned_further() -> None:
    first = prune(make_checkpoint("mobilefacenet"), macs=0.7).checkpoint
    second = prune(replace(first, fingerprint="a" * 64), ratio=0.2)
    assert second.after.multiply_adds < second.before.multiply_adds
    assert (first.spec.pruned_from, second.checkpoint.spec.pruned_from) == ("f" * 64, "a" * 64)
    assert second.checkpoint.provenance == {
        "seed": 1,
        "pruned": [{"from": "f" * 64, "macs": 0.7}, {"from": "a" * 64, "ratio": 0.2}],
    }


def test_what_is_frozen_stays_frozen() -> None:
    checkpoint = make_checkpoint("iresnet18", 0.125)
    frozen = {name for name, value in checkpoint.backbone.named_parameters() if not value.requires_grad}
    pruned = prune(checkpoint, macs=0.6).checkpoint.backbone
    assert {name for name, value in pruned.named_parameters() if not value.requires_grad} == frozen == {"norm.weight"}


def test_a_pruned_network_learns() -> None:
    backbone = prune(make_checkpoint("mobilefacenet"), macs=0.5).checkpoint.backbone.train()
    backbone(torch.randn(4, 3, SIZE, SIZE)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({}, "one of them is needed"),
        ({"macs": 0.5, "ratio": 0.5}, "exclude one another"),
        ({"macs": 0.0}, "--macs: a share is asked for, between 0 and 1, and 0.0 was given"),
        ({"macs": 1.0}, "--macs: a share"),
        ({"ratio": -0.1}, "--ratio: a share"),
        ({"ratio": 30.0}, "--ratio: a share"),
        ({"macs": float("nan")}, "--macs: a share"),
        ({"macs": 0.01}, "0.01 of the multiply-adds cannot be reached: .* 20% of its channels, as it has to, 0"),
        ({"ratio": 0.95}, "0.05 of the channels cannot be reached"),
        ({"macs": 0.9999}, "0.9999 of the multiply-adds are left by the network as it is"),
    ],
)
def test_a_target_that_makes_no_sense(targets: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prune(make_checkpoint("tinyfacenet"), **targets)


def test_a_convolutional_model_of_timm(timm: ModuleType) -> None:
    result = prune(make_checkpoint("timm:mobilenetv3_small_050", 1.0), macs=0.5)
    assert result.after.multiply_adds / result.before.multiply_adds == pytest.approx(0.5, abs=0.01)


def test_a_vision_transformer_is_refused() -> None:
    with pytest.raises(UsageError, match="a VisionTransformer cannot be pruned: it has weights in a layer of the kind"):
        prune(make_checkpoint("vit-tiny"), macs=0.5)


def test_a_lone_weight_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

    with pytest.raises(UsageError, match="of the kind Scaled"):
        require_known_layers(Scaled())


def test_a_network_that_cannot_be_built_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(*arguments: object, **options: object) -> nn.Module:
        raise RuntimeError("size mismatch\n\tfor embed.weight")

    monkeypatch.setattr(prune_module, "restore_backbone", restore)
    with pytest.raises(UsageError, match=r"tinyfacenet cannot be pruned \(size mismatch for embed.weight\)"):
        prune(make_checkpoint("tinyfacenet"), macs=0.5)


def test_a_network_that_came_out_different_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(*arguments: object, **options: object) -> nn.Module:
        return copy.deepcopy(whole.backbone)

    whole: Checkpoint = make_checkpoint("tinyfacenet")
    monkeypatch.setattr(prune_module, "restore_backbone", restore)
    with pytest.raises(UsageError, match="another network came of it"):
        prune(whole, macs=0.5)


def test_the_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UsageError, match=r"pip install 'facedistill\[prune\]'"):
        prune(make_checkpoint("tinyfacenet"), macs=0.5)
