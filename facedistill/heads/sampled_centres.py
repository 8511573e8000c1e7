"""A large table of class centres of which a training step takes a few rows, with what the optimizer knows of each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

# What the names of buffers begin with that hold the optimizer's state of every row.
STATE = "optimizer_"


class SampledCentres(nn.Module):
    """Rows of a table that take turns as the one parameter that the optimizer sees.

    Each step takes the rows of the classes in the batch, and others drawn at random; gradient, momentum and weight
    decay are theirs alone. Gradients of several batches may be gathered before a step: what was taken stays then, and
    the next batch adds to it. Counts that an optimizer keeps for a whole parameter (Adam's steps, for the bias
    correction) count steps, not how often a row took part.

    Args:
        centres: (S, W) float32, the first values of the table.
        rate: which share of the rows takes part in a step, above 0.

    Attributes:
        centres: the table, a buffer.
        sampled: the parameter; (0, W) before the first batch, then copies of the rows that take part. Its gradient
            is there after the backward pass, as usual. It is not in the state dict, which has the table and a
            buffer `optimizer_<name>` (S, W) for every state of the optimizer that has the parameter's shape.
    """

    centres: torch.Tensor

    def __init__(self, centres: torch.Tensor, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centres", centres)
        self.sampled = nn.Parameter(centres.new_empty(0, centres.shape[1]))
        self._rows = torch.empty(0, dtype=torch.int64)
        self._step_due = False
        self._hooks: list[RemovableHandle] = []

    def sample(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the rows that take part, those given and random ones, K in all.

        K is rate * S, or the length of `rows` where that is more, up to S: enough whatever the batch, so that nothing
        has to wait for the device. Draws from torch's global generator.

        Args:
            rows: (N,) int64, rows that have to take part; S for none.

        Returns:
            The centres (K, W), whose gradient goes to `sampled`, and where in them the given rows are, (N,) int64 (0
            for none).
        """
        size = len(self.centres)
        score = torch.rand(size + 1, device=self.centres.device).index_fill_(0, rows, 2.0)
        # A gradient that no step has used yet: its rows stay, in front of those that are new.
        waiting = self.sampled.grad if self._step_due else None
        if waiting is None:
            self._rows = score[:size].topk(kept_rows(size, self.rate, len(rows))).indices
        else:
            score.index_fill_(0, self._rows, -1.0)
            added = score[:size].topk(min(len(rows), size - len(self._rows))).indices
            self._rows = torch.cat([self._rows, added])
            waiting = torch.cat([waiting, waiting.new_zeros(len(added), waiting.shape[1])])
        position = torch.zeros(size + 1, dtype=torch.int64, device=rows.device)
        position.index_copy_(0, self._rows, torch.arange(len(self._rows), device=rows.device))
        # A leaf of its own for every batch, since autograd lets no parameter change its shape while a graph knows it.
        centres = self.centres.index_select(0, self._rows).requires_grad_()
        self.sampled.grad = None
        self.sampled.data = centres.detach()
        self.sampled.grad = waiting
        centres.register_post_accumulate_grad_hook(self._receive)  # type: ignore[no-untyped-call]
        self._step_due = True
        return centres, position[rows]

    def _receive(self, centres: torch.Tensor) -> None:
        earlier = self.sampled.grad
        self.sampled.grad = centres.grad if earlier is None or centres.grad is None else earlier + centres.grad
        centres.grad = None

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have every step of `optimizer` use and change the state of the rows that take part.

        Raises:
            ValueError: `optimizer` does not have the parameter `sampled`.
        """
        if not any(parameter is self.sampled for group in optimizer.param_groups for parameter in group["params"]):
            raise ValueError("the optimizer does not have the parameter 'sampled' of these centres")
        for hook in self._hooks:
            hook.remove()
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self.sampled.grad is None:
            return
        for name in self._states():
            optimizer.state[self.sampled][name.removeprefix(STATE)] = self.get_buffer(name)[self._rows]

    @torch.no_grad()
    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self.sampled.grad is None:
            return
        self._step_due = False
        self.centres.index_copy_(0, self._rows, self.sampled)
        state = optimizer.state[self.sampled]
        for name, rows in list(state.items()):
            if torch.is_tensor(rows) and rows.shape == self.sampled.shape:
                if STATE + name not in self._buffers:
                    self.register_buffer(STATE + name, torch.zeros_like(self.centres, dtype=rows.dtype))
                self.get_buffer(STATE + name).index_copy_(0, self._rows, rows)
                del state[name]

    def _states(self) -> list[str]:
        return [name for name in self._buffers if name.startswith(STATE)]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[prefix + "sampled"]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, *lists: list[str]
    ) -> None:
        # The tables of state are made by the first step, so that a fresh module has none to load into.
        for name in self._states():
            del self._buffers[name]
        for key, saved in state_dict.items():
            if key.startswith(prefix + STATE):
                table = torch.zeros_like(self.centres, dtype=saved.dtype)
                self.register_buffer(key.removeprefix(prefix), table)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)
        missing = lists[0]
        if prefix + "sampled" in missing:
            missing.remove(prefix + "sampled")


def kept_rows(size: int, rate: float, needed: int) -> int:
    """How many of `size` rows take part where up to `needed` have to: a share `rate`, or `needed` if that is more."""
    return max(1, round(rate * size), min(size, needed))
