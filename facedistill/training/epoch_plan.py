"""What is decided of an epoch before it begins: its batches, and the seeds of all that is random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

from facedistill.data.batches.sampling import Sampler, epoch_generator
from facedistill.data.decoding import Indices
from facedistill.errors import UsageError
from facedistill.ranks import largest_over_ranks, ranks
from facedistill.training.options import TrainingOptions


@dataclass(frozen=True)
class EpochPlan:
    """What is decided of an epoch before it begins.

    Attributes:
        batches: this process's batches, as many and each as large as in every other process.
        seeds: (batches,) what the randomness of each is seeded with.
        mirrored: (N,) bool, which images are mirrored.
    """

    batches: list[Indices]
    seeds: npt.NDArray[np.int64]
    mirrored: npt.NDArray[np.bool_]

    @classmethod
    def make(cls, sampler: Sampler, options: TrainingOptions, epoch: int, images: int) -> EpochPlan:
        """The plan of an epoch, decided by its number and the seed alone."""
        batches = sampler.batches(epoch)
        if ranks() > 1:
            # Single images stand at a batch's end, and one process may have one more of them than another.
            sizes = torch.tensor([-len(batch) for batch in batches], dtype=torch.int64)
            device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
            smallest = (-largest_over_ranks(sizes.to(device))).tolist()
            batches = [batch[:size] for batch, size in zip(batches, smallest, strict=True)]
        mirrored = epoch_generator(options.seed, epoch, purpose=1).random(images) < 0.5
        seeds = epoch_generator(options.seed, epoch, purpose=2).integers(2**62, size=len(batches))
        return cls(batches, seeds, mirrored)


def count_steps(sampler: Sampler, options: TrainingOptions) -> int:
    """Steps of an epoch.

    Raises:
        UsageError: an epoch has fewer batches than a step is to accumulate.
    """
    batches = len(sampler.batches(0))
    if batches < options.accumulate:
        raise UsageError(
            f"an epoch has {batches} batch(es), fewer than the {options.accumulate} that make a step",
            place="--accumulate",
            next_step="Lower it, or --batch-size",
        )
    return batches // options.accumulate
