"""Plain softmax: inner products with the class centres, no margin; what margin heads are measured against."""

from __future__ import annotations

import torch

from facedistill.heads.margin import HEADS, Margin, refuse_margin


class Softmax(Margin):
    """Logits are the inner products of embedding and class centre, neither of them normalised.

    Without a bias (ours): a face is compared by its embedding alone, and a bias would only learn the class sizes.

    Args:
        scale: what the inner products are multiplied by.
    """

    normalised = False

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__(scale=scale)

    def target(self, cosine: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Inner products (N,), as they are."""
        return cosine


@HEADS.register("softmax", summary="inner products, no margin, no bias", source="baseline of arXiv 1801.07698")
def softmax(*, scale: float | None, margin: float | None) -> Margin:
    """Plain softmax."""
    refuse_margin("softmax", margin, "it is the baseline without one")
    return Softmax(scale=1.0 if scale is None else scale)
