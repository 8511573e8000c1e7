"""Parameters, multiply-adds and size of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

FP32_BYTES = 4


@dataclass(frozen=True)
class Complexity:
    """What a backbone costs.

    Attributes:
        parameters: trainable and frozen ones.
        multiply_adds: of one image, in convolutions, matrix products and attention.
        fp32_bytes: of the parameters and statistics that are saved, in float32; without a file's header.
    """

    parameters: int
    multiply_adds: int
    fp32_bytes: int


class WithoutNorms(TorchFunctionMode):
    """Leaves out batch and layer norms, which are not counted and take most of the time on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The first argument as it is in place of a norm's output; every other function is called."""
        if func in (functional.batch_norm, functional.layer_norm):
            return args[0]
        return func(*args, **(kwargs or {}))


def count_parameters(model: nn.Module) -> int:
    """Weights and biases, trained or frozen; the running statistics of batch norms are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_fp32_bytes(model: nn.Module) -> int:
    """Bytes of the saved tensors with floating-point ones in float32 and the others (batch counters) as they are."""
    return sum(
        tensor.numel() * (FP32_BYTES if tensor.is_floating_point() else tensor.element_size())
        for tensor in model.state_dict().values()
    )


def measure_complexity(model: nn.Module, *, input_size: int) -> Complexity:
    """Count what `model` does with one (1, 3, input_size, input_size) image; on the meta device nothing is computed.

    Multiply-adds are half of the operations that torch's own counter finds in convolutions, matrix products and
    attention, which is what papers on compact networks give; batch norms (which fold into convolutions) and
    activations are left out. The model is put back into the mode it was in.
    """
    parameter = next(model.parameters())
    images = torch.zeros(1, 3, input_size, input_size, device=parameter.device, dtype=parameter.dtype)
    counter = FlopCounterMode(display=False)
    was_training = model.training
    try:
        # Attention in plain matrix products, since the counter does not know every fused kernel (the CPU's among them).
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), WithoutNorms(), counter:
            model.eval()(images)
    finally:
        model.train(was_training)
    return Complexity(count_parameters(model), counter.get_total_flops() // 2, count_fp32_bytes(model))
