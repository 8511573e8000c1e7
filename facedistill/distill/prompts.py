"""Prompts for a frozen transformer teacher (the APT of arXiv 2306.14662)."""

from __future__ import annotations

import torch
from torch import nn

from facedistill.errors import UsageError
from facedistill.models.vit import INIT_STD, VisionTransformer


class PromptedTeacher(nn.Module):
    """A frozen vision transformer that reads learnable prompt tokens beside its own tokens in every block.

    Each block has prompts of its own: they stand before the tokens when it is entered and are dropped behind it, so
    that what reaches the embedding has as many tokens as ever. Without prompts it is the teacher to the last bit.

    Only the prompts are parameters of this module, and the only tensors in its state. The teacher stays where it is,
    in evaluation mode, and its weights are made not to require gradients.

    Args:
        teacher: any width, depth and input size.
        count: t, prompt tokens of each block; 0 for none. The paper's number is not known.

    Raises:
        UsageError: the teacher is another network.
    """

    def __init__(self, teacher: nn.Module, count: int) -> None:
        super().__init__()
        if not isinstance(teacher, VisionTransformer):
            raise UsageError(
                f"prompts go into a vision transformer, and the teacher is a {type(teacher).__name__}",
                next_step="Set prompts to 0, or use a vit-tiny or vit-small teacher",
            )
        # In a tuple, so that it is no part of this module: its weights are neither trained nor saved with it.
        self._teacher = (teacher.eval().requires_grad_(False),)
        positions = teacher.positions
        shape = (len(teacher.blocks), count, positions.shape[2])
        self.prompts = nn.Parameter(torch.empty(shape, device=positions.device, dtype=positions.dtype))
        nn.init.trunc_normal_(self.prompts, std=INIT_STD)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher with its prompts.

        Args:
            images: (B, 3, S, S) float, preprocessed for the teacher.

        Returns:
            Embeddings (B, T), not normalised, and the tokens (B, L, C) behind the last norm; with gradient to the
            prompts.
        """
        (teacher,) = self._teacher
        count = self.prompts.shape[1]
        tokens = teacher.patches(images).flatten(2).transpose(1, 2) + teacher.positions
        for block, prompts in zip(teacher.blocks, self.prompts, strict=True):
            if count:
                tokens = torch.cat([prompts.expand(len(tokens), -1, -1), tokens], dim=1)
            tokens = block(tokens)[:, count:]
        # Past the hooks, since a `FeatureTap` on the teacher is there for its forward passes without prompts.
        features = teacher.tail.forward(tokens)
        embeddings: torch.Tensor = teacher.norm(teacher.embed(teacher.gather_norm(teacher.gather(features.flatten(1)))))
        return embeddings, features
