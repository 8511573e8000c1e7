"""Remove the channels of a backbone that weigh least, down to a share of its multiply-adds or of its channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from facedistill.checkpoint import BackboneSpec, Checkpoint, restore_backbone
from facedistill.errors import UsageError
from facedistill.models.complexity import Complexity, measure_complexity
from facedistill.preprocessing import Preprocessing
from facedistill.prune.choice import Removed, choose
from facedistill.prune.costs import channels_by_side, layer_costs, multiply_adds_without
from facedistill.prune.groups import ChannelGroup, find_groups, remove_units

# Random crops on which the embeddings before and after are compared.
CROPS = 16
# A pruned network that is saved and loaded has to give what it gave before, up to the order of additions.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class PruneResult:
    """A pruned network beside the one it was made of.

    Attributes:
        checkpoint: the pruned network; its spec says what it was pruned from.
        before: parameters and multiply-adds of the whole network.
        after: those of the pruned one.
        channels: side of a map in pixels -> output channels of the convolutions that give maps of that side, before
            and after.
        cosine: mean cosine of the embeddings before and after, of random crops.
        least_cosine: the smallest.
    """

    checkpoint: Checkpoint
    before: Complexity
    after: Complexity
    channels: dict[int, tuple[int, int]]
    cosine: float
    least_cosine: float

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Column names and rows to print."""
        figures = [
            ("parameters", self.before.parameters, self.after.parameters),
            ("multiply-adds", self.before.multiply_adds, self.after.multiply_adds),
            *((f"channels of {side} x {side} maps", *counts) for side, counts in self.channels.items()),
        ]
        rows: list[tuple[str, ...]] = [
            (name, f"{before:,}", f"{after:,}", f"{after / before:.3f}") for name, before, after in figures
        ]
        return ("", "before", "after", "share left"), rows

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "backbone": self.checkpoint.spec.to_dict(),
            "parameters": {"before": self.before.parameters, "after": self.after.parameters},
            "multiply_adds": {"before": self.before.multiply_adds, "after": self.after.multiply_adds},
            "channels": {
                str(side): {"before": before, "after": after} for side, (before, after) in self.channels.items()
            },
            "cosine": {"mean": self.cosine, "least": self.least_cosine},
        }


def check_target(macs: float | None, ratio: float | None) -> None:
    """Raise UsageError unless exactly one of the two is given, and lies between 0 and 1."""
    if (macs is None) == (ratio is None):
        raise UsageError("--macs and --ratio exclude one another, and one of them is needed")
    name, value = ("--macs", macs) if ratio is None else ("--ratio", ratio)
    if value is None or not 0 < value < 1:
        raise UsageError(f"a share is asked for, between 0 and 1, and {value} was given", place=name)


def prune(checkpoint: Checkpoint, *, macs: float | None = None, ratio: float | None = None) -> PruneResult:
    """Remove the least important channels of a backbone; embedding size and input stay what they are.

    The importance of a channel is the squared L2 norm of its weights, on average over the layers that it is bound to,
    and relative to the mean of its group (torch-pruning's group magnitude, which leaves depthwise filters out). All
    channels of the network are ranked together; each layer keeps a fifth. What is left was not trained to do without
    the rest, so it has to be trained on.

    Args:
        checkpoint: what to prune, on the CPU; it is not changed. It may have been pruned before.
        macs: share of its multiply-adds to keep; the nearest that whole channels allow.
        ratio: share of its channels to remove, instead; those that go together, as along residuals, count once.

    Raises:
        UsageError: torch-pruning is missing; the network has layers that cannot be pruned; or a share out of range, or
            one that cannot be reached.
    """
    check_target(macs, ratio)
    size = checkpoint.preprocessing.size
    pruned = copy.deepcopy(checkpoint.backbone)
    groups = find_groups(pruned, size)
    if not groups:
        raise UsageError(f"a {type(pruned).__name__} has no channels that could be removed")
    costs = layer_costs(pruned, size)
    if macs is not None:
        whole = sum(cost.multiply_adds for cost in costs.values())
        removed = choose(
            groups, lambda gone: multiply_adds_without(costs, groups, gone) / whole, macs, what="multiply-adds"
        )
    else:
        removed = choose(groups, lambda gone: channels_left(groups, gone), 1 - (ratio or 0.0), what="channels")
    remove_units(groups, removed)
    spec = replace(checkpoint.spec, pruned_from=checkpoint.fingerprint or "a network that was not saved")
    restored = restored_alike(pruned, spec, checkpoint)
    sides, sides_after = channels_by_side(costs), channels_by_side(layer_costs(restored, size))
    cosines = compare(checkpoint.backbone, restored, checkpoint.preprocessing)
    asked = {"macs": macs} if ratio is None else {"ratio": ratio}
    history = [*checkpoint.provenance.get("pruned", []), {"from": checkpoint.fingerprint, **asked}]
    return PruneResult(
        checkpoint=Checkpoint(restored, spec, checkpoint.preprocessing, {**checkpoint.provenance, "pruned": history}),
        before=measure_complexity(checkpoint.backbone, input_size=size),
        after=measure_complexity(restored, input_size=size),
        channels={side: (before, sides_after.get(side, 0)) for side, before in sides.items()},
        cosine=float(cosines.mean()),
        least_cosine=float(cosines.min()),
    )


def channels_left(groups: Sequence[ChannelGroup], removed: Removed) -> float:
    """The share of the channels that is left without the removed units."""
    gone = sum(
        len(group.units[unit])
        for group, chosen in zip(groups, removed, strict=True)
        for unit in chosen.nonzero()[0].tolist()
    )
    return 1 - gone / sum(group.channels for group in groups)


def restored_alike(pruned: nn.Module, spec: BackboneSpec, checkpoint: Checkpoint) -> nn.Module:
    """The pruned network built anew, as it will be when it is loaded; UsageError where that is not the same network."""
    size = checkpoint.preprocessing.size
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        restored = restore_backbone(spec, pruned.state_dict(), input_size=size)
        with torch.no_grad():
            expected, given = pruned.eval()(images), restored(images)
        alike = torch.allclose(given, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max()))
        fault = None if alike else "another network came of it"
    except (RuntimeError, ValueError, IndexError, KeyError) as error:
        fault = " ".join(str(error).split())
    if fault is not None:
        raise UsageError(
            f"the backbone {spec.name} cannot be pruned ({fault})",
            next_step="Prune a network of plain convolutions, such as mobilefacenet or iresnet50",
        )
    return restored


def compare(before: nn.Module, after: nn.Module, preprocessing: Preprocessing) -> torch.Tensor:
    """(CROPS,) cosine of the two networks' embeddings of each of some crops of random pixels."""
    size = preprocessing.size
    crops = torch.randint(0, 256, (CROPS, size, size, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = preprocessing.to_tensor(crops)
    with torch.no_grad():
        return functional.cosine_similarity(before(images), after(images))
