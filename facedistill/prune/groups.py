"""The channels of a backbone that can only go together, and how much each lot of them weighs.

torch-pruning (extra `prune`) finds them by tracing: a channel of a convolution goes with its batch norm, its PReLU, its
filter in a depthwise convolution, the same channel of every layer that a residual adds to it, and the inputs of the
layers that read it (Fang et al., DepGraph, arXiv 2301.12900).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from facedistill.errors import UsageError
from facedistill.models.shrink import is_depthwise

# Layers whose channels can be removed, and that a pruned checkpoint is loaded into.
PRUNABLE = (nn.Conv2d, nn.Linear, AnyBatchNorm, nn.PReLU)


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of layers that are bound to one another; a unit is the smallest lot that can be removed.

    Attributes:
        layer: name of the layer that stands for the group.
        units: channels of that layer that go together, mostly one.
        scores: (U,) float32, importance of each unit; on average 1.
        outputs: name of a layer -> (U,) int64, how many output channels it loses with each unit.
        inputs: the same of input channels.
        found: what torch-pruning made of the group.
    """

    layer: str
    units: tuple[tuple[int, ...], ...]
    scores: npt.NDArray[np.float32]
    outputs: Mapping[str, npt.NDArray[np.int64]]
    inputs: Mapping[str, npt.NDArray[np.int64]]
    found: Any

    @property
    def channels(self) -> int:
        """Of the layer that stands for the group."""
        return sum(len(unit) for unit in self.units)


def import_torch_pruning() -> ModuleType:
    """The module torch_pruning; UsageError with what to install where it is missing."""
    try:
        return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise UsageError(
            f"pruning needs the package torch-pruning ({error})",
            next_step="Install it with: pip install 'facedistill[prune]'",
        ) from error


def find_groups(backbone: nn.Module, input_size: int) -> list[ChannelGroup]:
    """All groups of a backbone but those of its embedding, its input, and of grouped convolutions.

    A grouped convolution that is not depthwise keeps its channels, since as many would have to go from each of its
    groups.

    Args:
        backbone: on the CPU; put into eval mode.
        input_size: side of its square input in pixels.

    Raises:
        UsageError: torch-pruning is missing, or the backbone has layers that cannot be pruned.
    """
    pruning = import_torch_pruning()
    require_known_layers(backbone)
    names = {layer: name for name, layer in backbone.named_modules()}
    with torch.enable_grad():
        graph = pruning.DependencyGraph().build_dependency(
            backbone.eval(), torch.zeros(1, 3, input_size, input_size), verbose=False
        )
    # What nothing follows gives the embedding, whose size is kept.
    ends = [layer for layer, node in graph.module2node.items() if not node.outputs]
    importance = pruning.importance.GroupMagnitudeImportance(p=2)
    groups = []
    for found in graph.get_all_groups(ignored_layers=ends, root_module_types=[nn.Conv2d, nn.Linear]):
        if any(is_grouped(item.dep.target.module) for item in found):
            continue
        joined = any(isinstance(item.dep.target.module, pruning.ops._ConcatOp) for item in found)
        units = units_of(graph, found, joined=joined)
        groups.append(
            ChannelGroup(
                names[found[0].dep.target.module],
                units,
                mean_scores(importance(found), units),
                count_channels(graph, found, units, names, outputs=True),
                count_channels(graph, found, units, names, outputs=False),
                found,
            )
        )
    return groups


def require_known_layers(backbone: nn.Module) -> None:
    """Raise UsageError where weights lie in other layers than convolutions, linear ones, batch norms and PReLUs."""
    for layer in backbone.modules():
        owns = any(True for _ in layer.parameters(recurse=False))
        if owns and not isinstance(layer, PRUNABLE):
            raise UsageError(
                f"a {type(backbone).__name__} cannot be pruned: it has weights in a layer of the kind "
                f"{type(layer).__name__}",
                next_step="Prune a network of convolutions, such as mobilefacenet or iresnet50",
            )


def is_grouped(layer: Any) -> bool:
    """Whether a layer is a grouped convolution that is not depthwise."""
    return isinstance(layer, nn.Conv2d) and layer.groups > 1 and not is_depthwise(layer)


def units_of(graph: Any, found: Any, *, joined: bool) -> tuple[tuple[int, ...], ...]:
    """Which channels of the first layer of a group go together.

    Only where maps are put beside one another (`joined`) can one channel bring another of its layer with it, as in
    ghost modules, whose second half is made of the first.
    """
    layer, function, channels = found[0].dep.target.module, found[0].dep.handler, len(found[0].idxs)
    if not joined:
        return tuple((channel,) for channel in range(channels))
    units, seen = [], set[int]()
    for channel in range(channels):
        if channel not in seen:
            unit = tuple(sorted(set(graph.get_pruning_group(layer, function, [channel])[0].idxs)))
            seen.update(unit)
            units.append(unit)
    return tuple(units)


def mean_scores(scores: torch.Tensor, units: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """(U,) mean score of each unit's channels; 0 in a group without any weight, whose scores are 0 / 0."""
    values = np.nan_to_num(scores.detach().float().numpy())
    return np.array([values[list(unit)].mean() for unit in units], dtype=np.float32)


def count_channels(
    graph: Any, found: Any, units: Sequence[Sequence[int]], names: Mapping[nn.Module, str], *, outputs: bool
) -> dict[str, npt.NDArray[np.int64]]:
    """How many outputs (or inputs) each convolution and linear layer loses with each unit; (U,) by its name."""
    unit_of = {channel: index for index, unit in enumerate(units) for channel in unit}
    losses: dict[str, npt.NDArray[np.int64]] = {}
    for item in found:
        layer, handler = item.dep.target.module, item.dep.handler
        ours = graph.is_out_channel_pruning_fn(handler) if outputs else graph.is_in_channel_pruning_fn(handler)
        if ours and isinstance(layer, (nn.Conv2d, nn.Linear)):
            lost = np.array([unit_of[channel] for channel in item.root_idxs], dtype=np.int64)
            losses[names[layer]] = np.bincount(lost, minlength=len(units))
    return losses


def remove_units(groups: Sequence[ChannelGroup], removed: Sequence[npt.NDArray[np.bool_]]) -> None:
    """Take units out of the backbone that the groups were found in, for good.

    Args:
        groups: all of it; of no more use after.
        removed: of each group, (U,) which units go.
    """
    doomed = []
    for group, gone in zip(groups, removed, strict=True):
        channels = [channel for index in np.flatnonzero(gone) for channel in group.units[index]]
        if channels:
            first = group.found[0].dep
            doomed.append(group.found._DG.get_pruning_group(first.target.module, first.handler, channels))
    # Their indices are those of the whole network, so that all are looked up before the first goes.
    for found in doomed:
        found.prune()
