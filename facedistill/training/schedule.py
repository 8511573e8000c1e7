"""The learning rate as a function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math


def learning_rate(step: int, *, total_steps: int, warmup_steps: int, base: float) -> float:
    """Linear warm-up from base / warmup_steps, then half a cosine from base down to 0 at `total_steps`.

    Args:
        step: 0-based number of the step about to be taken.
        total_steps: steps of the whole run.
        warmup_steps: steps of the warm-up, 0 for none.
        base: the highest learning rate.
    """
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return base * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
