"""Which images make up which batch, decided by seed and epoch alone.

A sampler gives the whole list of an epoch's batches at once, so that a run is resumed at step k by leaving out the
first k, and the processes of a distributed run need not talk to one another: each takes its own from one common list.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from facedistill.data.batches.lookalikes import LookalikeGraph, deal_alike, singles_alike
from facedistill.data.dataset import FaceDataset
from facedistill.data.decoding import Indices
from facedistill.data.shards.dataset import ShardDataset
from facedistill.data.shards.order import shard_order
from facedistill.data.subset import Subset
from facedistill.errors import DataError


class Sampler(Protocol):
    """What decides the batches of an epoch."""

    def batches(self, epoch: int) -> list[Indices]:
        """The batches of this process, each (B,) int64 indices of images; the same for the same epoch."""
        ...


def epoch_generator(seed: int, epoch: int, purpose: int = 0) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, so that a resumed run repeats an unbroken one."""
    return np.random.default_rng([seed, epoch, purpose])


class ShuffledSampler:
    """Every image once an epoch, in random order.

    A last batch smaller than the others is dropped, since batch norm reads its statistics from the batch; with fewer
    images than one batch, all of them are the only batch. The processes of a run take turns at the common list.

    Args:
        count: images, at least one for each process.
        batch_size: images in a batch of one process.
        seed: decides the order, together with the epoch.
        shards: (count,) which shard each image lies in; their images are then read shard by shard, see `shard_order`.
        rank: which of the processes this is.
        ranks: how many there are.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        shards: npt.NDArray[np.int64] | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.count = count
        self.batch_size = min(batch_size, count // ranks)
        self.seed = seed
        self.shards = shards
        self.rank = rank
        self.ranks = ranks

    def batches(self, epoch: int) -> list[Indices]:
        """This process's batches, as many as every other process has."""
        if self.shards is not None:
            own = shard_order(self.shards, seed=self.seed, epoch=epoch, rank=self.rank, ranks=self.ranks)
            whole = len(own) // self.batch_size
            return np.split(own[: whole * self.batch_size], whole)
        order = epoch_generator(self.seed, epoch).permutation(self.count).astype(np.int64)
        steps = self.count // (self.batch_size * self.ranks)
        common = order[: steps * self.ranks * self.batch_size].reshape(steps, self.ranks, self.batch_size)
        return list(common[:, self.rank])


class IdentitySampler:
    """Batches of P people with K images each, and people with a single image among them as negatives.

    In a batch the P people are distinct, and no image occurs twice unless its person has fewer than K. An epoch shows
    every image of a person with K or more once, and once more those that fill up its last group; a person with 2 to
    K - 1 images is shown once, the images repeated; a single image is shown once, since it can be a negative only.
    Two exceptions keep the batches right. Who has more images than fit when he is in every batch shows a random part
    of them, another each epoch. And where single images would crowd the others out of the batch, a random part waits.

    Args:
        labels: (N,) int64 identities.
        batch_size: the most images in a batch of one process, if that is two people's; batches differ by one at most.
        images_per_identity: K, at least 2.
        seed: decides the order, together with the epoch.
        graph: who looks like whom; people that look alike then meet in a batch. None mixes at random.
        rank: which of the processes this is.
        ranks: how many there are; together they show what one would, in as many steps each.

    Raises:
        DataError: no identity has two images, so there is no positive pair to learn from.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        batch_size: int,
        images_per_identity: int,
        *,
        seed: int,
        graph: LookalikeGraph | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.labels = labels
        self.images_per_identity = images_per_identity
        self.seed = seed
        self.graph = graph
        self.rank = rank
        self.ranks = ranks
        counts = np.bincount(labels)
        self.people: Indices = np.flatnonzero(counts >= 2)
        self.singles: Indices = np.flatnonzero(counts == 1)
        if not len(self.people):
            raise DataError(
                "no identity has two images, so there is no positive pair for a triplet",
                next_step="Add images, or use a method without triplets (facedistill methods)",
            )
        self.counts = counts
        groups = -(-counts[self.people] // images_per_identity)
        share = float(groups.sum() * images_per_identity) / float(
            groups.sum() * images_per_identity + len(self.singles)
        )
        people = max(2, int(batch_size * share) // images_per_identity)
        self.people_per_batch = min(people, len(self.people))
        self.steps = self._steps(groups)
        total = self.steps * ranks
        self.singles_per_batch = min(
            max(0, batch_size - self.people_per_batch * images_per_identity), -(-len(self.singles) // total)
        )
        self.groups: Indices = np.minimum(groups, total)

    def _steps(self, groups: Indices) -> int:
        """The batches of a process, such that all groups find a place and nobody needs two places in a batch."""
        places = self.people_per_batch * self.ranks
        steps = max(1, int(-(-groups.sum() // places)))
        while True:
            fewer = max(1, int(-(-np.minimum(groups, steps * self.ranks).sum() // places)))
            if fewer == steps:
                return steps
            steps = fewer

    def batches(self, epoch: int) -> list[Indices]:
        """This process's batches: the images of a person stand together, single images at the end."""
        generator = epoch_generator(self.seed, epoch)
        total = self.steps * self.ranks
        groups = self._filled(generator)
        if self.graph is None:
            dealt = deal_at_random(groups, total, self.people_per_batch, generator)
        else:
            dealt = deal_alike(groups, total, self.people_per_batch, self.graph.among(self.people), generator)
        singles = self._dealt_singles(dealt, total, generator)
        by_identity, starts = self._shuffled_images(generator)
        within_group = np.arange(self.images_per_identity)
        shown = np.zeros(len(self.people), dtype=np.int64)
        batches = []
        for number, members in enumerate(dealt):
            if number % self.ranks == self.rank:
                people = self.people[members, np.newaxis]
                places = (shown[members, np.newaxis] * self.images_per_identity + within_group) % self.counts[people]
                images = by_identity[starts[people] + places].ravel()
                batches.append(np.concatenate([images, by_identity[starts[self.singles[singles[number]]]]]))
            shown[members] += 1
        return batches

    def _filled(self, generator: np.random.Generator) -> Indices:
        """Groups of each person this epoch: those that are due, and more of some until every batch is full."""
        groups = self.groups.copy()
        total = self.steps * self.ranks
        missing = total * self.people_per_batch - int(groups.sum())
        while missing > 0:
            # There always are some: with every person in every batch there would be more than places.
            spare = generator.permutation(np.flatnonzero(groups < total))[:missing]
            groups[spare] += 1
            missing -= len(spare)
        return groups

    def _dealt_singles(self, dealt: list[Indices], total: int, generator: np.random.Generator) -> list[Indices]:
        """Which single images, as places in `singles`, each batch holds; their numbers differ by one at most."""
        order = generator.permutation(len(self.singles)).astype(np.int64)[: total * self.singles_per_batch]
        parts = np.array_split(order, total)
        if self.graph is None:
            return parts
        sizes = [len(part) for part in parts]
        return singles_alike(dealt, order, sizes, self.graph.between(self.people, self.singles))

    def _shuffled_images(self, generator: np.random.Generator) -> tuple[Indices, Indices]:
        """The images sorted by identity and shuffled within each, and where each identity begins."""
        order = generator.permutation(len(self.labels)).astype(np.int64)
        by_identity = order[np.argsort(self.labels[order], kind="stable")]
        return by_identity, np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)


def shards_of(dataset: FaceDataset) -> npt.NDArray[np.int64] | None:
    """(N,) the shard that each image lies in, None where the data set is not kept in shards."""
    if isinstance(dataset, ShardDataset):
        return dataset.shards
    if isinstance(dataset, Subset):
        whole = shards_of(dataset.dataset)
        return None if whole is None else whole[dataset.indices]
    return None


def deal_at_random(groups: Indices, batches: int, places: int, generator: np.random.Generator) -> list[Indices]:
    """Who is in which batch: person i in `groups[i]` different ones, and as many people in each as in the others.

    The batches are gone through in random order again and again, `places` times in all. People sit down one after
    another, each on as many consecutive seats as he has groups; only who sits across two rounds could meet himself,
    and the second round lets him have batches that he has not.

    Args:
        groups: (C,) groups of each person, none above `batches`, together `batches * places`.
        batches: T.
        places: people in a batch.
        generator: decides the order.

    Returns:
        T arrays of `places` different people, 0 .. C - 1.
    """
    people = generator.permutation(len(groups))
    ends = np.cumsum(groups[people])
    seats = np.empty((places, batches), dtype=np.int64)
    for turn in range(places):
        order = generator.permutation(batches)
        begin = turn * batches
        across = int(np.searchsorted(ends, begin, side="right"))
        if turn and across < len(people):
            first = int(ends[across]) - int(groups[people[across]])
            before, after = begin - first, int(ends[across]) - begin
            if before > 0:
                taken = np.isin(order, seats[turn - 1, batches - before :])
                head = order[~taken][:after]
                order = np.concatenate([head, order[~np.isin(order, head)]])
        seats[turn] = order
    sitting = np.repeat(people, groups[people])
    return list(sitting[np.argsort(seats.ravel(), kind="stable")].reshape(batches, places))
