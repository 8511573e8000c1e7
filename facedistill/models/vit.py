"""The vision transformers of arcface_torch for faces: ViT (arXiv 2010.11929) with small patches and all tokens kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from facedistill.models.registry import BACKBONES

# arcface_torch (github deepinsight/insightface), vit_t and vit_s: patches of 9 x 9, so 12 x 12 of them in 112 pixels;
# the 4 pixels that are left over at the right and at the bottom are not looked at.
PATCH = 9
DEPTH = 12
HEADS = 8
MLP_RATIO = 4
HEAD_NORM_EPS = 2e-5
INIT_STD = 0.02


@dataclass(frozen=True)
class ViTSize:
    """Channels of one attention head; a token has `HEADS` times as many at width 1."""

    head_channels: int
    summary: str


SIZES = {
    "vit-tiny": ViTSize(32, "a small vision transformer"),
    "vit-small": ViTSize(64, "a vision transformer, a teacher"),
}


class Attention(nn.Module):
    """Multi-head self-attention: queries, keys and values without biases, an output projection with one."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> (N, T, channels)."""
        # The last axis of qkv holds queries, then keys, then values; each is split into heads.
        queries, keys, values = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        output: torch.Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return output


class TransformerBlock(nn.Module):
    """Pre-norm attention and a two-layer perceptron with ReLU6, each with a residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(channels), Attention(channels, heads))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, MLP_RATIO * channels),
            nn.ReLU6(),
            nn.Linear(MLP_RATIO * channels, channels),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, T, channels) -> (N, T, channels)."""
        tokens = tokens + self.attention(tokens)
        output: torch.Tensor = tokens + self.perceptron(tokens)
        return output


class VisionTransformer(nn.Module):
    """A plain ViT without a class token: every patch's token goes into the embedding, as in arcface_torch.

    19.1 M parameters and 1.50 G multiply-adds with 32 channels a head, 76.0 M and 5.75 G with 64, at 512-d, 112 x 112
    (arcface_torch states 1.5 and 5.7 G); half of the parameters lie in the layer that gathers the tokens.

    The random masking of patches and the random depth of arcface_torch's training are left out, so that the net does
    the same in training and in use.

    Args:
        head_channels: channels of one attention head.
        embedding_size: D.
        width: multiplier of the number of heads, and so of the channels; at least one head is kept.
        input_size: side of the square input in pixels.
        depth: transformer blocks.
    """

    def __init__(
        self,
        head_channels: int,
        *,
        embedding_size: int = 512,
        width: float = 1.0,
        input_size: int = 112,
        depth: int = DEPTH,
    ) -> None:
        super().__init__()
        heads = max(1, round(HEADS * width))
        channels = heads * head_channels
        tokens = (input_size // PATCH) ** 2
        self.patches = nn.Conv2d(3, channels, PATCH, PATCH)
        self.positions = nn.Parameter(torch.empty(1, tokens, channels))
        self.blocks = nn.Sequential(*(TransformerBlock(channels, heads) for _ in range(depth)))
        self.tail = nn.LayerNorm(channels)
        self.gather = nn.Linear(tokens * channels, channels, bias=False)
        self.gather_norm = nn.BatchNorm1d(channels, eps=HEAD_NORM_EPS)
        self.embed = nn.Linear(channels, embedding_size, bias=False)
        self.norm = nn.BatchNorm1d(embedding_size, eps=HEAD_NORM_EPS)
        nn.init.trunc_normal_(self.positions, std=INIT_STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=INIT_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the tokens, (N, T, channels)."""
        return self.tail

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        features = self.tail(self.blocks(tokens)).flatten(1)
        output: torch.Tensor = self.norm(self.embed(self.gather_norm(self.gather(features))))
        return output


def build_vit(head_channels: int, *, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """A vision transformer whose heads have the given channels."""
    return VisionTransformer(head_channels, embedding_size=embedding_size, width=width, input_size=input_size)


for _name, _size in SIZES.items():
    BACKBONES.register(_name, summary=_size.summary, source="arXiv 2010.11929, arcface_torch", embedding_size=512)(
        partial(build_vit, _size.head_channels)
    )
