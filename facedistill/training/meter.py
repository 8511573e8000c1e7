"""Sums of the loss and the figures since the last record, kept on the device so that no step waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from facedistill.loss import LossAndFigures
from facedistill.ranks import gather, largest_over_ranks, rank, ranks, sum_over_ranks

_NONE = -1


class Meter:
    """Takes in steps; gives their means, and the first step that was not finite.

    Args:
        device: where the sums are kept.
        bad_gradients: how many gradients in a row may be infinite before that counts; more than one where a gradient
            scaler leaves such steps out.
        whole_batch: the figures are those of the batch of all processes together, and the same in each; all but the
            mean similarity, which always is that of two images of the same process.
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
            embeddings: (B, D) of this process, of which the mean similarity of two images is noted.
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

        A mean of nothing, such as the distance in triplets where there was none, is left out.

        Args:
            of_all: over all processes, which then all have to call this; otherwise of this process.
        """
        names = list(self._sums)
        if not names:
            return {}
        table = self._table(names)
        if of_all:
            table = sum_over_ranks(table) / (ranks() if self._whole_batch else 1)
        return {
            name: total if name not in self._weights else total / weight
            for name, (total, weight) in zip(names, table.tolist(), strict=True)
            if name not in self._weights or weight > 0
        }

    def _table(self, names: list[str]) -> torch.Tensor:
        """(names, 2) float64: sum and weight."""
        nothing = torch.zeros((), dtype=torch.float64, device=self._device)
        rows = [torch.stack([self._sums[name], self._weights.get(name, nothing)]) for name in names]
        return torch.stack(rows) if rows else nothing.new_zeros(0, 2)

    def restart(self) -> None:
        """Begin the next record."""
        self._sums, self._weights = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """What resumed processes need to write the same records: the sums of each, since a sum of sums is rounded.

        All processes call this together.
        """
        names = list(self._sums)
        return {
            "names": names,
            "counts": [name for name in names if name not in self._weights],
            "tables": gather(self._table(names)[None]),
            "bad_in_a_row": self._bad_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`, which is that of any of as many processes."""
        table = state["tables"][rank()].to(self._device)
        self._sums = {name: row[0] for name, row in zip(state["names"], table, strict=True)}
        self._weights = {
            name: row[1] for name, row in zip(state["names"], table, strict=True) if name not in state["counts"]
        }
        self._bad_in_a_row = state["bad_in_a_row"].to(self._device)


def mean_similarity(embeddings: torch.Tensor) -> torch.Tensor:
    """The mean cosine of two different rows of (B, D) embeddings, 0-d float32; near 1 all of them are one point.

    A row of zeros has a cosine of 0 with every other.
    """
    unit = functional.normalize(embeddings.float())
    count = len(unit)
    # The square of the sum holds each row's product with itself too.
    return (unit.sum(dim=0).square().sum() - unit.square().sum()) / max(1, count * (count - 1))
