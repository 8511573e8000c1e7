"""Look for batch-norm statistics that make a rare input explode, and estimate them anew.

A channel that is nearly constant in training has a running variance near 0. An input that does move it is then
multiplied by up to 1 / sqrt(eps), about 300, and its embedding is far from all others, or becomes a hub that many
faces are near to. The mean accuracy hardly shows it. The thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm
from torch.optim.swa_utils import update_bn
from torch.utils.hooks import RemovableHandle

from facedistill.training.guards import COLLAPSED
from facedistill.training.meter import mean_similarity

# Running variance below which a channel has vanished; a tenth of the usual epsilon.
VANISHED = 1e-6
# What such a channel has to give somewhere, where 1 would be usual, before it matters. Many networks have channels that
# are dead behind a ReLU, constant for each and every input, and these do no harm.
MOVED = 10.0
# An embedding this many times longer or shorter than the median is an outlier.
FAR = 5.0


@dataclass(frozen=True)
class Findings:
    """What was found in evaluation mode.

    Attributes:
        vanished: name of a batch norm -> how many of its channels have a variance that vanished, and are far from their
            mean for some input.
        channels: channels of all batch norms together.
        outliers: embeddings whose length is far from the median.
        images: how many embeddings were looked at.
        shortest: the shortest of them, in medians.
        longest: the longest of them, in medians.
        similarity: mean cosine of two different embeddings.
    """

    vanished: dict[str, int]
    channels: int
    outliers: int
    images: int
    shortest: float
    longest: float
    similarity: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.vanished and not self.outliers and self.similarity < COLLAPSED

    def describe(self) -> str:
        """One line of it."""
        parts = []
        if self.similarity >= COLLAPSED:
            parts.append(f"all embeddings are nearly one point (mean cosine of two images {self.similarity:.3f})")
        if self.vanished:
            first = next(iter(self.vanished))
            parts.append(
                f"{sum(self.vanished.values())} of {self.channels} batch-norm channels explode for rare images, since "
                f"their variance vanishes (first in {first})"
            )
        if self.outliers:
            parts.append(
                f"{self.outliers} of {self.images} embeddings are far from the median length ({self.shortest:.2g} to "
                f"{self.longest:.2g} times it)"
            )
        return " and ".join(parts) or "nothing"


@contextmanager
def watch_vanished(backbone: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Watch the batch norms with vanished channels while a backbone in evaluation mode is called.

    Yields:
        Name of each -> (channels,) what the vanished channels gave at most, before weight and bias; 0 for the others.
        Filled in by the calls.
    """
    farthest: dict[str, torch.Tensor] = {}

    def watch(name: str, layer: nn.Module, mean: torch.Tensor, vanished: torch.Tensor, std: float) -> RemovableHandle:
        farthest[name] = torch.zeros_like(mean)

        def look(_: nn.Module, inputs: tuple[torch.Tensor], __: torch.Tensor) -> None:
            values = inputs[0].detach().float().transpose(0, 1).flatten(1)
            distance = (values - mean[:, None]).abs().amax(dim=1) / std
            farthest[name] = torch.maximum(farthest[name], torch.where(vanished, distance, 0))

        return layer.register_forward_hook(look)

    hooks = []
    for name, layer in backbone.named_modules():
        if isinstance(layer, AnyBatchNorm) and layer.running_var is not None and layer.running_mean is not None:
            vanished = layer.running_var < VANISHED
            if bool(vanished.any()):
                hooks.append(watch(name, layer, layer.running_mean, vanished, layer.eps**0.5))
    try:
        yield farthest
    finally:
        for hook in hooks:
            hook.remove()


def far_norms(embeddings: torch.Tensor) -> tuple[int, float, float]:
    """Of (N, D) embeddings, how many are `FAR` times longer or shorter than the median; least and most, in medians."""
    norms = embeddings.float().norm(dim=1).nan_to_num(nan=torch.inf)
    ratio = norms / norms.median().clamp(min=1e-12)
    ratio = ratio.nan_to_num(nan=torch.inf)  # infinite by infinite
    far = (ratio > FAR) | (ratio < 1 / FAR)
    return int(far.sum()), float(ratio.min()), float(ratio.max())


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
        # A compiled backbone would be compiled once more, for this mode and these hooks.
        with watch_vanished(backbone) as farthest, torch.compiler.set_stance("force_eager"):
            embeddings = torch.cat([backbone(batch) for batch in batches])
    finally:
        backbone.train(was_training)
    moved = {name: int((distance > MOVED).sum()) for name, distance in farthest.items()}
    layers = [layer for layer in backbone.modules() if isinstance(layer, AnyBatchNorm)]
    outliers, shortest, longest = far_norms(embeddings)
    return Findings(
        {name: count for name, count in moved.items() if count},
        sum(layer.num_features for layer in layers),
        outliers,
        len(embeddings),
        shortest,
        longest,
        float(mean_similarity(embeddings)),
    )


def helps(before: Findings, after: Findings) -> bool:
    """Whether a collapse is over, outliers or vanished channels are fewer, or the longest is half as long."""
    counts = [
        (findings.similarity >= COLLAPSED, findings.outliers, sum(findings.vanished.values()))
        for findings in (before, after)
    ]
    return counts[1] < counts[0] or (counts[1] == counts[0] and after.longest < before.longest / 2)


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
    with torch.compiler.set_stance("force_eager"):
        update_bn(batches(), backbone)
    backbone.train(was_training)
    after = examine(backbone, batches())
    if helps(before, after):
        return before, after
    for name, value in backbone.named_buffers():
        value.copy_(kept[name])
    return before, before
