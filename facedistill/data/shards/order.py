"""The order in which an epoch reads images that lie in shards: shuffled, yet from few files at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facedistill.errors import UsageError

_PURPOSE = 0x5EED5  # sets these random numbers apart from others of the same seed and epoch


def shard_order(
    shards: npt.NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    ranks: int = 1,
    buffer_shards: int = 8,
) -> npt.NDArray[np.int64]:
    """The images that a process reads in an epoch, in order.

    The shards are put in random order, with the images of each shuffled, and the row of all images is cut into equal
    pieces, one a rank, so that two ranks share a shard only where the cut runs through it. Each rank then takes
    `buffer_shards` shards at a time and shuffles their images together.

    Args:
        shards: (N,) the shard that each image lies in.
        seed: of the run.
        epoch: a new order for each.
        rank: 0 .. ranks - 1.
        ranks: how many processes share the images.
        buffer_shards: how many shards are mixed; more give better mixed batches and more jumps between files.

    Returns:
        (N // ranks,) int64 indices, each image once over all ranks; the N % ranks images at the end of the row, others
        in every epoch, are left out, so that all ranks have equally many.

    Raises:
        UsageError: there is no such rank, or `buffer_shards` is below 1.
    """
    if not 0 <= rank < ranks:
        raise UsageError(f"there is no rank {rank} of {ranks}")
    if buffer_shards < 1:
        raise UsageError(f"buffer_shards is {buffer_shards}, it must be at least 1")
    generator = np.random.default_rng([seed, epoch, _PURPOSE])
    names, numbers = np.unique(shards, return_inverse=True)
    place = generator.permutation(len(names))[numbers]  # of each image's shard in this epoch
    shuffled = generator.permutation(len(shards))
    row = shuffled[np.argsort(place[shuffled], kind="stable")]
    length = len(shards) // ranks
    mine = row[rank * length : (rank + 1) * length]
    if not length:
        return mine.astype(np.int64)
    window = (place[mine] - place[mine[0]]) // buffer_shards
    mixed = np.random.default_rng([seed, epoch, _PURPOSE, rank]).permutation(length)
    return mine[mixed[np.argsort(window[mixed], kind="stable")]].astype(np.int64)
