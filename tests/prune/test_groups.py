from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.models import build_backbone
from facedistill.models.complexity import measure_complexity
from facedistill.prune.costs import channels_by_side, layer_costs, multiply_adds_without
from facedistill.prune.groups import ChannelGroup, find_groups

from .made_networks import SIZE, make_checkpoint

pytest.importorskip("torch_pruning")


def by_layer(name: str, width: float = 0.25) -> dict[str, ChannelGroup]:
    return {group.layer: group for group in find_groups(make_checkpoint(name, width).backbone, SIZE)}


def test_the_groups_of_a_small_net_by_hand() -> None:
    groups = by_layer("tinyfacenet", 1.0)
    made = {
        frozenset(group.outputs): {**{name: int(lost.sum()) for name, lost in group.inputs.items()}}
        for group in groups.values()
    }
    # A depthwise convolution loses an input with each output.
    assert made == {
        frozenset({"blocks.0.0", "blocks.1.0"}): {"blocks.1.0": 16, "blocks.2.0": 16},
        frozenset({"blocks.2.0", "blocks.3.0"}): {"blocks.3.0": 32, "blocks.4.0": 32},
        frozenset({"blocks.4.0", "blocks.5.0"}): {"blocks.5.0": 64, "blocks.6.0": 64},
        frozenset({"blocks.6.0", "blocks.7.0"}): {"blocks.7.0": 64, "blocks.8.0": 64},
        frozenset({"blocks.8.0", "pool.0"}): {"pool.0": 96, "embed": 96},
    }


def test_the_score_of_a_channel_is_the_mean_square_of_what_goes_with_it_but_its_depthwise_filter() -> None:
    backbone = make_checkpoint("tinyfacenet", 1.0).backbone
    group = next(group for group in find_groups(backbone, SIZE) if "blocks.2.0" in group.outputs)
    state = backbone.state_dict()
    parts = [state[f"blocks.{name}.weight"].square() for name in ("2.1", "3.1")]
    parts.append(state["blocks.2.0.weight"].flatten(1).square().sum(1))
    parts.append(state["blocks.4.0.weight"].transpose(0, 1).flatten(1).square().sum(1))
    expected = torch.stack(parts).mean(0)
    assert np.allclose(group.scores, expected / expected.mean(), rtol=1e-5)


def test_a_flattened_channel_takes_all_its_pixels_along() -> None:
    groups = by_layer("iresnet18", 0.125)
    last = next(group for group in groups.values() if "embed" in group.inputs)
    assert last.inputs["embed"].tolist() == [16] * 64  # 4 x 4 pixels of a 64-pixel input
    assert "embed" not in last.outputs


def test_the_embedding_is_in_no_group() -> None:
    for name in ("tinyfacenet", "mobilefacenet", "iresnet18"):
        assert not any("embed" in group.outputs for group in by_layer(name).values())


def test_a_ghost_module_loses_both_halves() -> None:
    groups = by_layer("ghostfacenet", 0.25)
    joined = [group for group in groups.values() if len(group.units[0]) == 2]
    assert joined
    for group in joined:
        half = len(group.units)
        assert group.units == tuple((channel, channel + half) for channel in range(half))


def test_a_grouped_convolution_is_left_alone() -> None:
    backbone = make_checkpoint("mbf").backbone
    grouped = [
        name
        for name, layer in backbone.named_modules()
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups < layer.in_channels
    ]
    assert grouped
    for group in find_groups(backbone, SIZE):
        assert not set(grouped) & {*group.outputs, *group.inputs}


@pytest.mark.parametrize("name", ["tinyfacenet", "mobilefacenet", "iresnet18", "mobilenetv3", "ghostfacenet", "mbf"])
def test_costs_are_those_of_the_complexity(name: str) -> None:
    backbone = build_backbone(name, embedding_size=16, width=0.25, input_size=SIZE)
    costs = layer_costs(backbone, SIZE)
    expected = measure_complexity(backbone, input_size=SIZE).multiply_adds
    assert multiply_adds_without(costs, [], []) == expected
    assert not any(layer._forward_hooks for layer in backbone.modules())


def test_channels_by_side() -> None:
    backbone = build_backbone("tinyfacenet", embedding_size=16, input_size=SIZE)
    # The stem, blocks of 32, 64, 64 and 96 channels with a depthwise convolution before each, and the pool.
    by_hand = {16: 16 + 16 + 32, 8: 32 + 64 + 64 + 64, 4: 64 + 96, 1: 96}
    assert channels_by_side(layer_costs(backbone, SIZE)) == by_hand
