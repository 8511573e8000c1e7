"""Unified Receptive Fields Mapping (arXiv 2306.14662): from the features of any network to L local features."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from facedistill.distill.cross_architecture_positions import grid_places, position_buckets

TABLE_STD = 0.02
"""Spread of the position table at the start. Ours."""


def as_tokens(features: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) or (B, N, C) -> (B, N, C), row by row."""
    return features.flatten(2).transpose(1, 2) if features.dim() == 4 else features


def layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, rows and columns of features whose shape is (C, H, W) or (N, C).

    Tokens are taken for a square map behind as many further tokens (of a class, registers) as do not fit into it.
    """
    if len(shape) == 3:
        return shape
    side = math.isqrt(shape[0])
    return shape[1], side, side


def local_features(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, buckets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of L query centres over N pixels: e_lj = (q_l + b_lj) k_j^T / sqrt(d), b_lj = table[buckets_lj].

    Args:
        queries: (L, d).
        keys: (B, N, d).
        values: (B, N, d).
        table: (P, d).
        buckets: (L, N) int64, rows of the table.

    Returns:
        The attention (B, L, N), whose rows sum to 1, and the local features (B, L, d), each with mean 0 and variance 1
        over its d values.
    """
    transposed = keys.transpose(1, 2)
    # Every row of the table meets every key once; b_lj k_j^T is then looked up.
    position = (table @ transposed).gather(1, buckets.expand(len(keys), -1, -1))
    attention = ((queries @ transposed + position) / math.sqrt(keys.shape[2])).softmax(dim=2)
    local = attention @ values
    return attention, functional.layer_norm(local, local.shape[2:])


class ReceptiveFieldMapping(nn.Module):
    """One network's way to the L local features: projections of its pixels to keys and values, and its position table.

    Pixels and tokens are standardised over their channels first, so that it does not matter at which scale a network
    works. A vision transformer whose patches leave some pixels over is taken to cover the crop all the same.

    Args:
        shape: of the network's features of one image, (C, H, W) or (N, C).
        centres: L, a square number: the centres' anchors lie on a square grid over the crop.
        width: d.
        buckets: P.
        gamma: weight of the facial distance.
    """

    buckets: torch.Tensor

    def __init__(self, shape: tuple[int, ...], *, centres: int, width: int, buckets: int, gamma: float) -> None:
        super().__init__()
        channels, rows, columns = layout(shape)
        side = math.isqrt(centres)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(channels, width, bias=False)
        self.value = nn.Linear(channels, width, bias=False)
        self.table = nn.Parameter(torch.empty(buckets, width))
        nn.init.trunc_normal_(self.table, std=TABLE_STD)
        index = position_buckets(grid_places(rows, columns), grid_places(side, side), gamma=gamma, buckets=buckets)
        self.register_buffer("buckets", index, persistent=False)

    def forward(self, centres: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Centres (L, d) and features (B, C, H, W) or (B, N, C) -> local features (B, L, d)."""
        tokens = as_tokens(features)[:, -self.buckets.shape[1] :]
        tokens = functional.layer_norm(tokens, tokens.shape[2:])
        return local_features(self.query(centres), self.key(tokens), self.value(tokens), self.table, self.buckets)[1]


class LocalAttention(nn.Module):
    """The multi-head self-attention among local features, by which teacher and student are compared.

    Args:
        width: d, a multiple of `heads`.
        heads: each has an attention of its own.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)

    def forward(self, local: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Local features (B, L, d) -> attention (B, heads, L, L), and what it makes of them, (B, L, d), standardised.

        Standardised (mean 0 and variance 1 over the d values of each) since the mean squared difference of the outputs
        would otherwise shrink with their scale, which nothing else holds.
        """
        queries, keys, values = self.qkv(local).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])).softmax(dim=3)
        mixed = self.project((attention @ values).transpose(1, 2).flatten(2))
        return attention, functional.layer_norm(mixed, mixed.shape[2:])


def held_fixed(module: nn.Module, *inputs: torch.Tensor) -> Any:
    """What `module` makes of the inputs, with gradient to them and none to its parameters."""
    return functional_call(module, {name: value.detach() for name, value in module.named_parameters()}, inputs)
