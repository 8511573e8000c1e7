"""The optimizer, and the length that gradients are cut to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from facedistill.ranks import ranks, sum_over_ranks
from facedistill.training.options import TrainingOptions

# What features and embeddings are multiplied by: the weights of layers and the centres of heads. What else has several
# dimensions is added (positions, class tokens, tables of biases) or a scale, and decay has no business with it.
MULTIPLIED = ("weight", "centres", "sampled")


def make_optimizer(modules: Iterable[nn.Module], options: TrainingOptions) -> torch.optim.Optimizer:
    """SGD or AdamW; norms, PReLU slopes, biases, position embeddings and class tokens get no weight decay."""
    named = [(name, value) for module in modules for name, value in module.named_parameters() if value.requires_grad]
    decayed = [value for name, value in named if value.ndim > 1 and name.endswith(MULTIPLIED)]
    chosen = {id(value) for value in decayed}
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": [value for _, value in named if id(value) not in chosen], "weight_decay": 0.0},
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, nesterov=options.nesterov)
    return torch.optim.AdamW(groups, lr=options.lr)


def clip_gradients(
    optimizer: torch.optim.Optimizer, sharded: Iterable[nn.Parameter], *, max_norm: float
) -> torch.Tensor:
    """Shorten the gradient of all parameters together to `max_norm`, and give the length it had.

    Args:
        optimizer: whose parameters they are.
        sharded: those of them of which every process holds another part; the others are the same in all processes.
        max_norm: the longest it may be, in the L2 norm.

    Returns:
        0-d float tensor, the same in every process; not finite where some gradient is not.
    """
    parts = {id(parameter) for parameter in sharded}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    present = [parameter for parameter in parameters if parameter.grad is not None]
    whole = [parameter.grad for parameter in present if parameter.grad is not None and id(parameter) not in parts]
    norm = nn.utils.get_total_norm(whole)
    if ranks() > 1 and parts:
        own = [parameter.grad for parameter in present if parameter.grad is not None and id(parameter) in parts]
        norm = (norm.square() + sum_over_ranks(nn.utils.get_total_norm(own).square())).sqrt()
    elif parts:
        norm = nn.utils.get_total_norm([parameter.grad for parameter in present if parameter.grad is not None])
    nn.utils.clip_grads_with_norm_(present, max_norm, norm)
    return norm
