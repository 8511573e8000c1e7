"""Look for batch-norm statistics that make a rare input explode, and estimate them anew.

A channel that is nearly constant in training has a running variance near 0. An input that does move it is then
multiplied by up to 1 / sqrt(eps), about 300, and its embedding is far from all others, or becomes a hub that many
faces are near to. The mean accuracy hardly shows it. The thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm
from torch.optim.swa_utils import update_bn

# Running variance below which a channel counts as vanished; a tenth of the usual epsilon.
VANISHED = 1e-6
# An embedding this many times longer or shorter than the median is an outlier.
FAR = 5.0


@dataclass(frozen=True)
class Findings:
    """What was found in evaluation mode.

    Attributes:
        vanished: name of a batch norm -> how many of its channels have vanished.
        channels: channels of all batch norms together.
        outliers: embeddings whose length is far from the median.
        images: how many embeddings were looked at.
        longest: the longest of them, in medians.
    """

    vanished: dict[str, int]
    channels: int
    outliers: int
    images: int
    longest: float

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.vanished and not self.outliers

    def describe(self) -> str:
        """One line of it."""
        parts = []
        if self.vanished:
            first = next(iter(self.vanished))
            parts.append(
                f"the variance of {sum(self.vanished.values())} of {self.channels} batch-norm channels vanishes "
                f"(first in {first})"
            )
        if self.outliers:
            parts.append(
                f"{self.outliers} of {self.images} embeddings are far from the median length (up to {self.longest:.0f} "
                "times it)"
            )
        return " and ".join(parts) or "nothing"


def vanished_channels(backbone: nn.Module) -> dict[str, int]:
    """Name of each batch norm with vanished channels -> how many they are."""
    found = {
        name: int((layer.running_var < VANISHED).sum())
        for name, layer in backbone.named_modules()
        if isinstance(layer, AnyBatchNorm) and layer.running_var is not None
    }
    return {name: count for name, count in found.items() if count}


def far_norms(embeddings: torch.Tensor) -> tuple[int, float]:
    """Of (N, D) embeddings, how many are `FAR` times longer or shorter than the median, and the longest in medians."""
    norms = embeddings.float().norm(dim=1)
    ratio = norms / norms.median().clamp(min=1e-12)
    far = (ratio > FAR) | (ratio < 1 / FAR) | ~torch.isfinite(ratio)
    return int(far.sum()), float(ratio.max())


@torch.no_grad()
def examine(backbone: nn.Module, batches: Iterable[torch.Tensor]) -> Findings:
    """Look at a backbone in evaluation mode; it is put back into the mode it was in.

    Args:
        backbone: (B, 3, S, S) -> (B, D).
        batches: inputs on its device.
    """
    was_training = backbone.training
    backbone.eval()
    try:
        embeddings = torch.cat([backbone(batch) for batch in batches])
    finally:
        backbone.train(was_training)
    layers = [layer for layer in backbone.modules() if isinstance(layer, AnyBatchNorm)]
    outliers, longest = far_norms(embeddings)
    return Findings(
        vanished_channels(backbone),
        sum(layer.num_features for layer in layers),
        outliers,
        len(embeddings),
        longest,
    )


def repair(backbone: nn.Module, batches: Callable[[], Iterable[torch.Tensor]]) -> tuple[Findings, Findings] | None:
    """Estimate the statistics anew where something is wrong, and keep them if that helps.

    Args:
        backbone: (B, 3, S, S) -> (B, D); its running statistics may change.
        batches: gives the same inputs each time it is called.

    Returns:
        What was found before and after; None where nothing was wrong. Where the new statistics are no better, the
        old ones are kept, and both findings are the same.
    """
    before = examine(backbone, batches())
    if before.sound:
        return None
    kept = {name: value.clone() for name, value in backbone.named_buffers()}
    was_training = backbone.training
    # A mean of all batches' statistics, where training keeps one that forgets all but the last dozen.
    update_bn(batches(), backbone)
    backbone.train(was_training)
    after = examine(backbone, batches())
    if (after.outliers, sum(after.vanished.values())) < (before.outliers, sum(before.vanished.values())):
        return before, after
    for name, value in backbone.named_buffers():
        value.copy_(kept[name])
    return before, before
