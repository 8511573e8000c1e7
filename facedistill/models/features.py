"""The last feature map of a backbone, or its tokens, as they come by in a forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from facedistill.errors import UsageError


def feature_layer(backbone: nn.Module) -> nn.Module:
    """The layer whose output is the backbone's features: what it names by its own property `feature_layer`.

    For the convolutional nets here that is the last map (B, C, H, W), before a global depthwise convolution or a
    linear layer makes a vector of it; for the vision transformers the tokens (B, L, C) behind the last norm; for a
    model of timm the last layer of its `feature_info`.

    Raises:
        UsageError: it names none.
    """
    layer = getattr(backbone, "feature_layer", None)
    if not isinstance(layer, nn.Module):
        raise UsageError(
            f"a {type(backbone).__name__} does not say which of its layers gives the features",
            next_step="Use another backbone, or a method that does with embeddings",
        )
    return layer


class FeatureTap:
    """Keeps the features of a backbone's last forward pass, with their gradient, until they are taken.

    Whoever calls the backbone, directly or from inside a wrapper, calls it as before; its state and its output stay
    what they are. A copy of the backbone is not tapped.

    Args:
        backbone: names its `feature_layer`.

    Raises:
        UsageError: it names none.
    """

    def __init__(self, backbone: nn.Module) -> None:
        tapped = feature_layer(backbone)
        self._backbone = backbone
        self._features: torch.Tensor | None = None
        self._rows_first = bool(getattr(backbone, "features_end_with_channels", False))

        def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
            # A deep copy of the backbone, such as the running average of its weights, has this same hook.
            if layer is tapped:
                self._features = self._arranged(output)

        self._hook = tapped.register_forward_hook(keep)

    def take(self) -> torch.Tensor:
        """The features of the last forward pass, (B, C, H, W) or (B, L, C); the tap lets go of them.

        Raises:
            RuntimeError: there was no forward pass since they were taken last.
        """
        features, self._features = self._features, None
        if features is None:
            raise RuntimeError("the backbone has not been called since its features were taken")
        return features

    def shape_of(self, input_size: int) -> tuple[int, ...]:
        """Shape of the features of one image of `input_size` pixels squared: (C, H, W) or (L, C).

        Found by a forward pass in evaluation mode; every layer is put back into its own mode, and features that were
        not taken yet are still there.
        """
        waiting, training = self._features, {layer: layer.training for layer in self._backbone.modules()}
        parameter = next(self._backbone.parameters())
        images = torch.zeros(1, 3, input_size, input_size, device=parameter.device, dtype=parameter.dtype)
        try:
            with torch.no_grad():
                self._backbone.eval()(images)
            return tuple(self.take().shape[1:])
        finally:
            self._features = waiting
            for layer, mode in training.items():
                layer.training = mode

    def remove(self) -> None:
        """Leave the backbone alone from now on."""
        self._hook.remove()
        self._features = None

    def _arranged(self, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.dim() not in (3, 4):
            raise UsageError(
                f"the last features of this {type(self._backbone).__name__} are neither a map nor tokens",
                next_step="Use another backbone, or a method that does with embeddings",
            )
        return output.permute(0, 3, 1, 2) if output.dim() == 4 and self._rows_first else output
