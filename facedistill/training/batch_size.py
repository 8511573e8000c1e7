"""Find the largest batch that a device has memory for, by trying."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from facedistill.data.batches.loader import ImageBatch
from facedistill.errors import UsageError
from facedistill.ranks import ranks
from facedistill.training.engine import Engine
from facedistill.training.epoch_plan import EpochPlan
from facedistill.training.training import Training

# The largest batch that is tried; ours.
MOST = 1 << 14


def find_batch_size(try_batch: Callable[[int], None], *, start: int, most: int) -> int:
    """Double the batch until memory runs out, then halve the gap until it is an eighth of the batch.

    Args:
        try_batch: takes one training step with so many images; raises `torch.OutOfMemoryError` where that is too much.
        start: the first batch to try.
        most: the largest that makes sense.

    Returns:
        The largest batch that went well.

    Raises:
        UsageError: not even the first one did.
    """

    def fits(size: int) -> bool:
        try:
            try_batch(size)
            return True
        except torch.OutOfMemoryError:
            pass
        # Only here has the error let go of what the step had in memory.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False

    if not fits(start):
        raise UsageError(
            f"not even a batch of {start} fits into the memory", next_step="Use a smaller network, or --precision bf16"
        )
    good, bad = start, most + 1
    while good < most and bad > most:
        size = min(2 * good, most)
        good, bad = (size, bad) if fits(size) else (good, size)
    while bad <= most and bad - good > max(1, good // 8):
        size = (good + bad) // 2
        good, bad = (size, bad) if fits(size) else (good, size)
    return good


def largest_batch(training: Training, *, most: int = MOST) -> int:
    """The largest batch of all processes together that the GPU has room for, found by steps on made-up pixels.

    Args:
        training: its network is changed by the steps, and of no more use.
        most: the largest that is tried.

    Raises:
        UsageError: the run is on the CPU, whose memory has no such edge, or of several processes.
    """
    if training.fabric.device.type != "cuda":
        raise UsageError("the largest batch can be found on a GPU only", place="--find-batch-size")
    if ranks() > 1:
        raise UsageError("the largest batch is found by one process", place="--find-batch-size")
    engine = Engine(training)
    side, images = training.preprocessing.size, len(training.dataset)

    def try_batch(size: int) -> None:
        indices = np.arange(size, dtype=np.int64) % images
        plan = EpochPlan([indices], np.zeros(1, dtype=np.int64), np.zeros(images, dtype=np.bool_))
        crops = np.zeros((size, side, side, 3), dtype=np.uint8)
        engine.step([(0, ImageBatch(crops, indices, {}))], plan, rate=0.0)
        torch.cuda.synchronize()

    return find_batch_size(try_batch, start=2, most=most)
