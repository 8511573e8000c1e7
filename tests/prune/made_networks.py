from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.prune.groups import ChannelGroup

SIZE, EMBEDDING_SIZE = 64, 16


def make_checkpoint(name: str, width: float = 0.25) -> Checkpoint:
    """A network whose statistics, slopes, gains and shifts all differ from channel to channel."""
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_size=EMBEDDING_SIZE, width=width, input_size=SIZE)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
        for _ in range(2):
            backbone.train()(torch.randn(8, 3, SIZE, SIZE) * 2 + 1)
    spec = BackboneSpec(name, EMBEDDING_SIZE, width)
    return Checkpoint(backbone.eval(), spec, Preprocessing(size=SIZE), {"seed": 1}, fingerprint="f" * 64)


def masked(backbone: nn.Module, groups: Sequence[ChannelGroup], removed: Sequence[npt.NDArray[np.bool_]]) -> nn.Module:
    """A copy whose doomed channels are 0 everywhere: their filters, gains and shifts are; nothing is taken out."""
    copied = copy.deepcopy(backbone)
    for group, gone in zip(groups, removed, strict=True):
        channels = [channel for unit in np.flatnonzero(gone) for channel in group.units[unit]]
        graph, first = group.found._DG, group.found[0].dep
        for item in graph.get_pruning_group(first.target.module, first.handler, channels) if channels else ():
            name = graph._module2name.get(item.dep.target.module, "")
            if name and graph.is_out_channel_pruning_fn(item.dep.handler):
                with torch.no_grad():
                    for parameter in copied.get_submodule(name).parameters(recurse=False):
                        parameter[item.idxs] = 0
    return copied
