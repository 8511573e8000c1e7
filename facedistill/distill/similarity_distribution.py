"""The teacher's softmax over how alike an image is to the training images, passed to the student as a whole."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from facedistill.distill.centres import require_teacher
from facedistill.distill.method import (
    DistillationBatch,
    MethodOptions,
    Needs,
    Setting,
    register_method,
)
from facedistill.distill.similarity import unit_rows
from facedistill.embedders.cached_rows import TeacherRows
from facedistill.loss import LossAndFigures, mean_figure

_SEED = 0


class SimilarityDistributionOptions(MethodOptions):
    """Options of `similarity-distribution`."""

    scale: float = Field(
        default=24.0, gt=0, description="What cosines are multiplied by, in the student's softmax and in the teacher's"
    )
    anchors: int = Field(
        default=16384, ge=2, description="Training images that an image is compared with; of more, so many at random"
    )


@register_method(
    "similarity-distribution",
    options=SimilarityDistributionOptions,
    needs=Needs(equal_sizes=True, rows=True),
    summary="the teacher's softmax over similarities to the training images",
    source="after SEED, arXiv 2101.04731",
    formula=(
        "L = mean over images i of KL( p(t_i) || p(s_i) ),  p(x) = softmax over anchors a of scale * cos(x, a)\n"
        "s_i, t_i: embeddings of the student and of the teacher; a: the teacher's embeddings of the training images,\n"
        "original and mirrored added up.\n"
        "SEED compares with a queue of recent images, has a softer softmax for the student than for the teacher, and\n"
        "was published for unlabelled photos of things. Comparing with the training images themselves, always the\n"
        "same, and with one scale, is ours: then the loss is 0 only where the student is the teacher."
    ),
)
class SimilarityDistribution(nn.Module):
    """The divergence of the student's distribution over anchors from the teacher's.

    Where the cosine loss only turns an embedding towards its target, this one weighs how alike the image is to every
    other: above all, it keeps an image away from the people whom the teacher tells it apart from.

    The teacher's entropy is taken off, which changes no gradient, so that 0 is the end.

    Args:
        options: scale and number of anchors.
        setting: gives the teacher's embeddings of the training images.
    """

    anchors: torch.Tensor

    def __init__(self, options: SimilarityDistributionOptions, setting: Setting) -> None:
        super().__init__()
        require_teacher(setting, "similarity-distribution", equal_sizes=True)
        if setting.rows is None:
            raise ValueError("similarity-distribution needs the teacher's embeddings of the training images")
        self.scale = options.scale
        # Not saved: it follows from the data set and the teacher, both of which a resumed run has again.
        self.register_buffer("anchors", choose_anchors(setting.rows, options.anchors), persistent=False)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean divergence, and the mean `cosine` of student and teacher, in float32."""
        with torch.autocast(batch.student.device.type, enabled=False):
            student, teacher = unit_rows(batch.student), unit_rows(batch.teacher.detach())
            anchors = self.anchors.to(student.dtype).T
            log_p = functional.log_softmax(self.scale * teacher @ anchors, dim=1)
            log_q = functional.log_softmax(self.scale * student @ anchors, dim=1)
            loss = functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
            cosine = (student * teacher).sum(dim=1)
        return LossAndFigures(loss, {"cosine": mean_figure(cosine)})


def choose_anchors(rows: TeacherRows, count: int) -> torch.Tensor:
    """(A, T) float32 unit vectors, A = `count` or all readable images: their original and mirrored embeddings added up.

    Which they are depends on the number of images alone, so that it is the same in all processes and after a resume.
    """
    order = np.random.default_rng(_SEED).permutation(len(rows))
    both = [functional.normalize(torch.from_numpy(part)) for part in rows.raw(np.sort(order[:count]))]
    summed = both[0] + both[1]
    summed = summed[torch.isfinite(summed).all(dim=1)]
    return functional.normalize(summed)
