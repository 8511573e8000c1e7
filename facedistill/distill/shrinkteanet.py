"""ShrinkTeaNet's angular distillation (Duong et al., arXiv 1905.10620), on the embedding."""

from __future__ import annotations

from facedistill.distill.cosine import cosine_with_teacher
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.loss import LossAndFigures, mean_figure


class ShrinkTeaNetOptions(MethodOptions):
    """It has none."""


@register_method(
    "shrinkteanet",
    options=ShrinkTeaNetOptions,
    needs=Needs(equal_sizes=True),
    summary="(1 - cos)^2 between student and teacher embeddings: far ones are pulled, near ones left alone",
    source="arXiv 1905.10620",
    formula=(
        "L = mean over images i of (1 - cos(s_i, t_i))^2\n"
        "s_i, t_i: embeddings of the student and of the teacher\n"
        "The paper adds the same term on intermediate stages, through layers that map one network's features to the\n"
        "other's, and a classification loss. Here it is the embedding's term alone; --plus margin-softmax classifies."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.47, CFP-FP 91.97, CPLFW 88.52, "
        "AgeDB-30 96.00, CALFW 94.98, IJB-C 87.80 / 79.78 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class ShrinkTeaNetDistillation:
    """(1 - cos(student, teacher))^2, averaged over the batch.

    Its slope, 2 (1 - cos), goes to 0 as the student comes near: the last degrees are hardly asked for. Intermediate
    stages are not mapped. An embedding of length 0 counts as orthogonal to every other.
    """

    def __init__(self, options: ShrinkTeaNetOptions, setting: Setting) -> None:
        pass

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """Mean of (1 - cos)^2 over the batch."""
        cosine = cosine_with_teacher(batch)
        return LossAndFigures((1 - cosine).square().mean(), {"cosine": mean_figure(cosine)})
