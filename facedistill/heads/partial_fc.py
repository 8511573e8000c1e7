"""PartialFC: centres spread over the processes, and a sampled softmax (An et al., CVPR 2022, arXiv 2203.15565)."""

from __future__ import annotations

import torch
from torch import nn

from facedistill.errors import UsageError
from facedistill.heads.margin import Margin
from facedistill.heads.margin_head import FIRST_STD, loss_at_chance
from facedistill.heads.sampled_centres import SampledCentres, kept_rows
from facedistill.heads.sharded_cross_entropy import sharded_cross_entropy
from facedistill.loss import Figure, LossAndFigures
from facedistill.ranks import gather, largest_over_ranks, rank, ranks, sum_over_ranks

# How many centres are drawn at once where a process needs only a part of them.
_PIECE = 1 << 13


def shard_bounds(identities: int, number: int, processes: int) -> tuple[int, int]:
    """First and one past the last class of process `number`: contiguous shares whose sizes differ by one at most."""
    share, extra = divmod(identities, processes)
    start = number * share + min(number, extra)
    return start, start + share + (number < extra)


class PartialFC(nn.Module):
    """Cross-entropy under a margin rule where each process has the centres of a share of the classes.

    Every process compares the images of all of them with its own centres. Loss and figures are those of the whole
    batch and the same in every process. At `sample_rate` 1 it is that of `MarginHead`. Below, the softmax goes over the
    classes of the batch and randomly drawn others; see `SampledCentres`. Out of training it goes over all classes.

    Gradients in a run of R processes: the centres get the true gradient of the loss, and must stay out of DDP, which
    would average, and copy from the first process, what differs between processes by design. The embeddings get R
    times the true gradient, since the averaging of the backbone's gradients by DDP divides by R again.

    Float32 inside whatever the autocast says. Not for `torch.compile`: it exchanges tensors between processes.

    Args:
        embedding_size: D.
        identities: C, the number of classes of the whole run.
        margin: the rule.
        sample_rate: the share of a process's classes that take part in a step, in (0, 1].

    Attributes:
        sharded: True: parameters and state differ between processes and are saved for each.
        start, stop: the classes of this process.

    Raises:
        UsageError: more processes than classes.
    """

    sharded = True

    def __init__(self, embedding_size: int, identities: int, margin: Margin, *, sample_rate: float) -> None:
        super().__init__()
        if identities < ranks():
            raise UsageError(f"{identities} identities cannot be shared among {ranks()} processes")
        self.margin = margin
        self.embedding_size = embedding_size
        self.identities = identities
        self.sample_rate = sample_rate
        self.start, self.stop = shard_bounds(identities, rank(), ranks())
        copies = margin.centres_per_identity
        centres = draw_centres(identities * copies, embedding_size, self.start * copies, self.stop * copies)
        self._batch = 0
        self.sampling: SampledCentres | None = None
        if sample_rate < 1:
            self.sampling = SampledCentres(centres.view(-1, copies * embedding_size), sample_rate)
        else:
            self.centres = nn.Parameter(centres)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> LossAndFigures:
        """Embeddings (N, D), labels (N,) int64, N the same in every process -> loss and figures of the whole batch."""
        with torch.autocast(embeddings.device.type, enabled=False):
            everyone, labels = gather(embeddings.float()), gather(labels)
            self._batch = len(labels)
            # All processes compute the same penalty, and `gather` adds up its gradients; of the cross-entropy's
            # gradient each has a part, so that the sum is still to be multiplied.
            penalty = self.margin.penalty(everyone.norm(dim=1))
            embeddings = _multiply_gradient(everyone, ranks())
            norms = embeddings.norm(dim=1)
            here = (labels >= self.start) & (labels < self.stop)
            centres, column = self._centres(torch.where(here, labels - self.start, self.stop - self.start))
            cosine = self.margin.similarities(embeddings, centres)
            with_own = cosine.gather(1, column[:, None]).squeeze(1)
            target = sum_over_ranks(torch.where(here, with_own, 0.0))
            if self.training and self.margin.has_statistics:
                self.margin.update(target, norms.detach())
            # Every process knows every image's target, and the one that has its class also the way to the gradient.
            margined = self.margin.target(torch.where(here, with_own, target), norms)
            others = self.margin.others(cosine, margined.detach())
            kept = torch.where(here, margined, others.gather(1, column[:, None]).squeeze(1))
            # Of equal cosines none is nearest: a backbone that gives zeros must not look perfect.
            correct = (target > _largest_other(cosine.detach(), column, here)).sum()
            accuracy = Figure(correct, torch.full_like(correct, len(labels)))
            # No variable holds the logits, which are as large as the cosines and of no use after the next line.
            loss = sharded_cross_entropy(
                self.margin.scale * others.scatter(1, column[:, None], kept[:, None]), column, here
            )
            loss = loss if penalty is None else loss + penalty
            return LossAndFigures(loss, {"train_accuracy": accuracy, **self.margin.figures(norms)})

    def _centres(self, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres (K, D) that take part, and the column of each class (N,) of this process; 0 for the class past it."""
        if self.sampling is not None and self.training:
            centres, column = self.sampling.sample(classes)
        else:
            centres = self.centres if self.sampling is None else self.sampling.centres
            column = torch.where(classes < self.stop - self.start, classes, 0)
        return centres.reshape(-1, self.embedding_size), column

    def loss_at_chance(self) -> float:
        """The loss that embeddings orthogonal to every centre have, in batches like the last; waits for the device."""
        classes = self.identities
        if self.sampling is not None and self.training:
            shards = (shard_bounds(self.identities, number, ranks()) for number in range(ranks()))
            classes = sum(kept_rows(stop - start, self.sample_rate, self._batch) for start, stop in shards)
        return loss_at_chance(self.margin, classes, self.embedding_size)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have `optimizer` treat the sampled centres as rows of a table; needed before the first step below rate 1."""
        if self.sampling is not None:
            self.sampling.attach(optimizer)


def draw_centres(count: int, size: int, start: int, stop: int) -> torch.Tensor:
    """Rows `start` to `stop` of a (count, size) table of first centres; each process draws, and drops, the others.

    Drawn in pieces, so that no process needs room for the whole table, and all of them leave the generator alike.
    """
    if (start, stop) == (0, count):
        return nn.init.normal_(torch.empty(count, size), std=FIRST_STD)
    centres = torch.empty(stop - start, size)
    for first in range(0, count, _PIECE):
        piece = nn.init.normal_(torch.empty(min(_PIECE, count - first), size), std=FIRST_STD)
        low, high = max(first, start), min(first + _PIECE, stop)
        if low < high:
            centres[low - start : high - start] = piece[low - first : high - first]
    return centres


def _multiply_gradient(rows: torch.Tensor, factor: int) -> torch.Tensor:
    """The same rows, whose gradient is multiplied by `factor` on its way back."""
    rows = rows.view_as(rows)
    if factor > 1 and rows.requires_grad:
        rows.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return rows


def _largest_other(cosine: torch.Tensor, column: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """The largest cosine (N,) of each image with a class that is not its own, over the columns of all processes."""
    own = cosine.gather(1, column[:, None])
    others = cosine.scatter(1, column[:, None], torch.where(here[:, None], -torch.inf, own))
    return largest_over_ranks(others.amax(dim=1))
