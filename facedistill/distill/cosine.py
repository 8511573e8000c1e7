"""Cosine distillation: turn each student embedding towards the teacher's embedding of the same crop."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from facedistill.distill.method import METHODS, DistillationBatch, MethodOptions, Needs
from facedistill.loss import Figure, LossAndFigures


class CosineDistillation(nn.Module):
    """1 - cos(student, teacher), averaged over the batch; half the squared distance between the unit vectors.

    Both sides are normalised first: the lengths of the teacher's embeddings say how sharp a crop is, not who it is.
    """

    needs = Needs(equal_sizes=True)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean of 1 - cos over the batch, in float32."""
        with torch.autocast(batch.student.device.type, enabled=False):
            cosine = functional.cosine_similarity(batch.student.float(), batch.teacher.float())
        size = torch.full_like(cosine[0], len(cosine))
        return LossAndFigures(1 - cosine.mean(), {"cosine": Figure(cosine.detach().sum(), size)})


@METHODS.register("cosine", summary="1 - cos between student and teacher embeddings", source="arXiv 1905.10620")
def cosine(options: MethodOptions) -> CosineDistillation:
    """Cosine distillation; it has no options."""
    return CosineDistillation()
