"""Which images make up which batch: every image once an epoch, decided by seed and epoch alone."""

from __future__ import annotations

import numpy as np

from facedistill.data.decoding import Indices
from facedistill.errors import DataError


def epoch_generator(seed: int, epoch: int, purpose: int = 0) -> np.random.Generator:
    """A generator that depends on nothing but its arguments, so that a resumed run repeats an unbroken one."""
    return np.random.default_rng([seed, epoch, purpose])


def shuffled_batches(count: int, batch_size: int, generator: np.random.Generator) -> list[Indices]:
    """All of 0..count-1 in random order, cut into batches.

    A last batch smaller than the others is dropped, since batch norm reads its statistics from the batch; with fewer
    images than one batch, all of them are the only batch.
    """
    order = generator.permutation(count).astype(np.int64)
    return cut(order, batch_size)


def identity_batches(
    labels: Indices, batch_size: int, images_per_identity: int, generator: np.random.Generator
) -> list[Indices]:
    """Batches of P identities with K images each, every image once an epoch.

    Each identity's images are shuffled and dealt into groups of K; the groups are shuffled and fill the batches.
    An identity with fewer images than K fills its group with what it has: such images serve as negatives, which is
    all they can be, and no image is repeated only to be its own positive.

    Args:
        labels: (N,) identities.
        batch_size: images in a batch, P * K.
        images_per_identity: K, at least 2.
        generator: decides the order.

    Raises:
        DataError: no identity has two images, so there is no positive pair to learn from.
    """
    order = generator.permutation(len(labels)).astype(np.int64)
    by_identity = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    if counts.max(initial=0) < 2:
        raise DataError(
            "no identity has two images, so there is no positive pair for a triplet",
            next_step="Add images, or use a method without triplets (facedistill methods)",
        )
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    groups = [
        by_identity[start + offset : start + min(offset + images_per_identity, count)]
        for start, count in zip(starts, counts, strict=True)
        for offset in range(0, count, images_per_identity)
    ]
    dealt = np.concatenate([groups[group] for group in generator.permutation(len(groups))])
    return cut(dealt, batch_size)


def cut(order: Indices, batch_size: int) -> list[Indices]:
    """`order` in pieces of `batch_size`, without a smaller last one unless it is the only one."""
    if len(order) < batch_size:
        return [order]
    whole = len(order) // batch_size
    return np.split(order[: whole * batch_size], whole)
