"""What a training objective gives for one batch: the loss, and figures to log beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Figure(NamedTuple):
    """A number to log, as a weighted sum that stays on the device until it is written down.

    Attributes:
        total: 0-d tensor, the sum over the batch, without gradient.
        weight: 0-d tensor, what the sum over batches is divided by; None for a plain count.
    """

    total: torch.Tensor
    weight: torch.Tensor | None


class LossAndFigures(NamedTuple):
    """The loss (0-d, with gradient) and the figures of one batch."""

    loss: torch.Tensor
    figures: dict[str, Figure]


def mean_figure(values: torch.Tensor) -> Figure:
    """The mean of one value for each image (B,)."""
    total = values.detach().sum()
    return Figure(total, torch.full_like(total, len(values)))
