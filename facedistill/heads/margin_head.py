"""A head with all class centres in every process: cross-entropy over all classes under a margin rule."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from facedistill.heads.margin import Margin
from facedistill.loss import Figure, LossAndFigures
from facedistill.ranks import gather

# The centres are drawn around the origin; only their directions matter, and a small norm lets them turn quickly.
FIRST_STD = 0.01


class MarginHead(nn.Module):
    """Cross-entropy between embeddings and class centres under a margin rule.

    Computed in float32 whatever the autocast says, since half precision cannot tell cosines near 1 apart. In a run of
    several processes each has a copy of the centres, and the loss is the mean over its own images: averaging the
    gradients over the processes, as DDP does, gives those of the mean over the whole batch.

    Args:
        embedding_size: D.
        identities: C, the number of classes.
        margin: the rule.

    Attributes:
        centres: (C * margin.centres_per_identity, D) float32.
        sharded: False, since every process has all centres.
    """

    sharded = False

    def __init__(self, embedding_size: int, identities: int, margin: Margin) -> None:
        super().__init__()
        self.margin = margin
        self.identities = identities
        self.centres = nn.Parameter(torch.empty(identities * margin.centres_per_identity, embedding_size))
        nn.init.normal_(self.centres, std=FIRST_STD)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> LossAndFigures:
        """Embeddings (N, D), labels (N,) int64 -> mean loss, `train_accuracy` and the figures of the rule."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            norms = embeddings.norm(dim=1)
            cosine = self.margin.similarities(embeddings, self.centres)
            loss = functional.cross_entropy(self.logits(cosine, norms, labels), labels)
            penalty = self.margin.penalty(norms)
            loss = loss if penalty is None else loss + penalty
            # Counted without the margin, since the margin is a handicap of training that nobody has in use.
            correct = (cosine.detach().argmax(dim=1) == labels).sum()
            accuracy = Figure(correct, torch.full_like(correct, len(labels)))
            return LossAndFigures(loss, {"train_accuracy": accuracy, **self.margin.figures(norms)})

    def logits(self, cosine: torch.Tensor, norms: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cosines (N, C), norms (N,), labels (N,) int64 -> logits (N, C); the rule's statistics take the batch in."""
        target = cosine.gather(1, labels[:, None]).squeeze(1)
        if self.training and self.margin.has_statistics:
            self.margin.update(gather(target.detach()), gather(norms.detach()))
        target = self.margin.target(target, norms)
        others = self.margin.others(cosine, target.detach())
        return self.margin.scale * others.scatter(1, labels[:, None], target[:, None])

    def loss_at_chance(self) -> float:
        """The loss that embeddings orthogonal to every centre have; waits for the device."""
        return loss_at_chance(self.margin, self.identities, self.centres.shape[1])

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing to do: the optimizer sees all of the centres. There so that every head can be used alike."""


def loss_at_chance(margin: Margin, classes: int, embedding_size: int) -> float:
    """The loss of one image whose cosines with all of `classes` classes are 0.

    Where the rule asks for the embedding's norm it is taken as sqrt(D), which batch-normed embeddings have.
    """
    device = next((buffer.device for buffer in margin.buffers()), torch.device("cpu"))
    with torch.no_grad():
        norms = torch.full((1,), math.sqrt(embedding_size), device=device)
        target = margin.target(torch.zeros(1, device=device), norms)
        other = margin.others(torch.zeros(1, 1, device=device), target).squeeze(1)
        loss = functional.softplus(math.log(max(1, classes - 1)) + margin.scale * (other - target))
        penalty = margin.penalty(norms)
    # A single class always wins, so that only the penalty is left.
    return (float(loss) if classes > 1 else 0.0) + (0.0 if penalty is None else float(penalty))
