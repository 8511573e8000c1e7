"""Sums of the loss and the figures since the last record, kept on the device so that no step waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from facedistill.loss import LossAndFigures
from facedistill.ranks import largest_over_ranks, sum_over_ranks

_NONE = -1


class Meter:
    """Takes in steps; gives their means, and the first step that was not finite.

    Args:
        device: where the sums are kept.
        bad_gradients: how many gradients in a row may be infinite before that counts; more than one where a gradient
            scaler leaves such steps out.
        whole_batch: the figures are those of the batch of all processes together, and the same in each.
    """

    def __init__(self, device: torch.device, *, bad_gradients: int = 1, whole_batch: bool = False) -> None:
        self._device = device
        self._bad_gradients = bad_gradients
        self._whole_batch = whole_batch
        self._sums: dict[str, torch.Tensor] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._bad: dict[str, torch.Tensor] = {
            name: torch.full((), _NONE, dtype=torch.int64, device=device) for name in ("loss", "gradient")
        }
        self._bad_in_a_row = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, output: LossAndFigures, embeddings: torch.Tensor, step: int) -> None:
        """Take in one batch.

        Args:
            output: of the objective.
            embeddings: (B, D), of which the mean similarity of two images is noted.
            step: the 1-based number of the step that it is part of.
        """
        loss = output.loss.detach()
        self._add("loss", loss, None)
        self._add("mean_similarity", mean_similarity(embeddings.detach()), None)
        for name, (total, weight) in output.figures.items():
            self._add(name, total, weight, count=weight is None)
        self._note("loss", ~torch.isfinite(loss), step)

    def add_gradient(self, norm: torch.Tensor, step: int) -> None:
        """Take in the length (0-d) of a step's gradient."""
        finite = torch.isfinite(norm)
        self._add("gradient_norm", torch.where(finite, norm, 0), finite)
        self._bad_in_a_row = torch.where(finite, 0, self._bad_in_a_row + 1)
        self._note("gradient", self._bad_in_a_row >= self._bad_gradients, step)

    def _add(self, name: str, total: torch.Tensor, weight: torch.Tensor | None, *, count: bool = False) -> None:
        self._sums[name] = self._sums.get(name, 0) + total.double()
        if not count:
            one = torch.ones((), dtype=torch.float64, device=self._device) if weight is None else weight.double()
            self._weights[name] = self._weights.get(name, 0) + one

    def _note(self, what: str, bad: torch.Tensor, step: int) -> None:
        self._bad[what] = torch.where(bad & (self._bad[what] < 0), step, self._bad[what])

    def first_bad_step(self) -> tuple[str, int] | None:
        """What was not finite ("loss" or "gradient") and since which step; None if all was. Waits for the device."""
        found = largest_over_ranks(torch.stack([self._bad["loss"], self._bad["gradient"]])).tolist()
        bad = [(name, int(step)) for name, step in zip(self._bad, found, strict=True) if step >= 0]
        return min(bad, key=lambda fault: fault[1], default=None)  # of the same step, the loss

    def figures(self, *, of_all: bool = True) -> dict[str, float]:
        """The means (or, for counts, the sums) since the last `restart`. Waits for the device.

        Args:
            of_all: over all processes, which then all have to call this; otherwise of this process.
        """
        names = list(self._sums)
        if not names:
            return {}
        nothing = torch.zeros((), dtype=torch.float64, device=self._device)
        table = torch.stack([torch.stack([self._sums[name], self._weights.get(name, nothing)]) for name in names])
        if of_all and not self._whole_batch:
            table = sum_over_ranks(table)
        return {
            name: total if name not in self._weights else total / max(weight, 1.0)
            for name, (total, weight) in zip(names, table.tolist(), strict=True)
        }

    def restart(self) -> None:
        """Begin the next record."""
        self._sums, self._weights = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to write the same records."""
        return {"sums": self._sums, "weights": self._weights, "bad_in_a_row": self._bad_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self._weights = {name: value.to(self._device) for name, value in state["weights"].items()}
        self._bad_in_a_row = state["bad_in_a_row"].to(self._device)


def mean_similarity(embeddings: torch.Tensor) -> torch.Tensor:
    """The mean cosine of two different rows of (B, D) embeddings, 0-d float32; near 1 all of them are one point."""
    unit = functional.normalize(embeddings.float())
    count = len(unit)
    return (unit.sum(dim=0).square().sum() - count) / max(1, count * (count - 1))
