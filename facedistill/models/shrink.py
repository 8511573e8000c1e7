"""Give a freshly built backbone the shapes of a pruned one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm


def is_depthwise(layer: nn.Conv2d) -> bool:
    """Whether each channel is convolved by itself alone."""
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def shrink_to(backbone: nn.Module, shapes: Mapping[str, torch.Size]) -> None:
    """Shrink each convolution, linear layer, batch norm and PReLU to the shapes that its tensors are stored in.

    The values are lost; they are loaded after. Tensors that are not stored, or that no removal of channels brings into
    the stored shape, are left as they are, for `load_state_dict` to complain about.

    Args:
        backbone: as its registered name builds it; changed in place.
        shapes: of the stored tensors, by their names in the state dict.
    """
    for name, layer in backbone.named_modules():
        own = {
            tensor: shapes.get(f"{name}.{tensor}")
            for tensor, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        }
        if None not in own.values() and _take_sizes(layer, own):
            for tensor, shape in own.items():
                _replace(layer, tensor, shape)


def _take_sizes(layer: nn.Module, shapes: Mapping[str, torch.Size | None]) -> bool:
    """Set a layer's own record of its sizes; False where it is of a kind that pruning leaves alone."""
    stored = shapes.get("weight", shapes.get("running_mean"))
    if stored is None or len(stored) == 0:
        return False
    if isinstance(layer, nn.Conv2d) and stored[2:] == layer.weight.shape[2:]:
        if is_depthwise(layer):
            layer.groups = layer.in_channels = layer.out_channels = stored[0]
        elif layer.groups == 1:
            layer.out_channels, layer.in_channels = stored[:2]
        else:
            return False
    elif isinstance(layer, nn.Linear) and len(stored) == 2:
        layer.out_features, layer.in_features = stored
    elif isinstance(layer, AnyBatchNorm):
        layer.num_features = stored[0]
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = stored[0]
    else:
        return False
    return True


def _replace(layer: nn.Module, name: str, shape: torch.Size | None) -> None:
    """Put an uninitialised tensor of another shape into a parameter's or buffer's place, if its shape differs."""
    before: torch.Tensor = getattr(layer, name)
    if shape is None or before.shape == shape:
        return
    empty = torch.empty(shape, dtype=before.dtype, device=before.device)
    if isinstance(before, nn.Parameter):
        empty = nn.Parameter(empty, requires_grad=before.requires_grad)
    setattr(layer, name, empty)
