"""Examine the finished network, and repair batch-norm statistics that have gone astray."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import distributed, nn

from facedistill.data.batches.loader import BatchLoader
from facedistill.data.batches.sampling import epoch_generator
from facedistill.ranks import ranks
from facedistill.training.batch_norm import repair
from facedistill.training.engine import to_device
from facedistill.training.training import Training

# Images that the network is examined with; ours.
EXAMINED = 2048


def look_at_result(training: Training, backbone: nn.Module, loader: BatchLoader) -> str | None:
    """Examine a network with crops that it was trained on, neither mirrored nor augmented.

    Args:
        training: the run.
        backbone: its result, on its device; the running statistics may change.
        loader: of the run.

    Returns:
        What was found and done, in words; None where nothing was wrong.
    """
    options = training.options
    order = epoch_generator(options.seed, options.epochs, purpose=3).permutation(len(training.dataset))
    size = min(options.batch_size // ranks(), len(order))
    chosen = order[: max(1, min(len(order), EXAMINED) // size) * size].astype(np.int64)
    crops = [batch.images for batch in loader.batches(np.split(chosen, len(chosen) // size))]

    def inputs() -> Iterator[torch.Tensor]:
        for images in crops:
            yield training.preprocessing.to_tensor(to_device(training.fabric, images))

    found = repair(backbone, inputs)
    if ranks() > 1:
        for buffer in backbone.buffers():
            distributed.broadcast(buffer, 0)
    if found is None:
        return None
    before, after = found
    done = "its batch-norm statistics were estimated anew, and now all is well"
    if not after.sound:
        done = f"its batch-norm statistics were estimated anew, which leaves {after.describe()}"
    if after == before:
        done = "new statistics do not help; another seed, more weight decay or a lower --lr may"
    return f"a look at the finished network found that {before.describe()}; {done}"
