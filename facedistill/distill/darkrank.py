"""DarkRank, hard variant (Chen et al., AAAI 2018, arXiv 1707.01220): the teacher's ranking of an image's neighbours."""

from __future__ import annotations

import torch
from pydantic import Field

from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.similarity import pairwise_cosines
from facedistill.loss import Figure, LossAndFigures

# Squared distances below this are rounding: float32 cosines near 1 are known to about 1e-7.
COINCIDENT = 1e-6


class DarkRankOptions(MethodOptions):
    """The score of a neighbour, and how many are ranked."""

    alpha: float = Field(default=3.0, gt=0, description="a, what the distance is multiplied by; 3 is published")
    beta: float = Field(default=3.0, ge=1, description="b, the power of the distance; 3 is published")
    length: int = Field(
        default=3,
        ge=2,
        le=64,
        description="L, how many of the nearest images by the teacher are ranked; 3 in TFace. "
        "Without another term a longer list, such as 16, is needed",
    )


@register_method(
    "darkrank",
    options=DarkRankOptions,
    needs=Needs(pairs=True),
    summary="each image's nearest neighbours by the teacher come in the same order for the student",
    source="arXiv 1707.01220",
    formula=(
        "L = - mean over images i of sum over l = 1..L of log( exp(S_l) / sum over m = l..L of exp(S_m) )\n"
        "S_l = -a |s_i - s_n(l)|^b, n(l): the l-th nearest image to i by the teacher, i itself left out\n"
        "s: the student's embeddings divided by their lengths; a 3 and b 3 as published, L 3 as in TFace (the code of\n"
        "RKD's authors has 4). It is the negative log-likelihood of the teacher's ranking (Plackett-Luce), so a\n"
        "student equal to the teacher does not reach 0.\n"
        "The order of few neighbours can also be had by sending all but the first away: without another term a small\n"
        "student loses the teacher's structure with L 3 or 4, and gains it with L 16."
    ),
    published=(
        "IResNet-50 -> MobileFaceNet, MS1MV2 (EKD's and AdaDistill's tables): LFW 99.55, CFP-FP 91.84, CPLFW 87.77, "
        "AgeDB-30 95.60, CALFW 95.07, IJB-C 89.28 / 81.62 at FAR 1e-4 / 1e-5\n"
        "the same student without a teacher: 99.52, 91.66, 87.93, 95.82, 95.12, 89.13 / 81.65"
    ),
)
class DarkRankDistillation:
    """Likelihood of the teacher's ranking under the student's scores; the embeddings may differ in length.

    A batch of two has nothing to rank and gives 0; identical student embeddings give log L!, without a gradient.
    """

    def __init__(self, options: DarkRankOptions, setting: Setting) -> None:
        self.options = options

    def __call__(self, batch: DistillationBatch) -> LossAndFigures:
        """The negative log-likelihood, and how often both networks name the same nearest image."""
        with torch.autocast(batch.student.device.type, enabled=False):
            cosines = pairwise_cosines(batch.student)
            nearest = nearest_images(pairwise_cosines(batch.teacher.detach()), self.options.length)
            squared = 2 - 2 * cosines.gather(1, nearest)
            apart = squared > COINCIDENT
            # Two embeddings in one place have no direction to be pulled in, and a power below 2 no slope there.
            distance = torch.where(apart, torch.where(apart, squared, 1).pow(self.options.beta / 2), 0)
            loss = ranking_loss(-self.options.alpha * distance).mean()
            agree = (nearest_images(cosines.detach(), 1)[:, :1] == nearest[:, :1]).sum()
            return LossAndFigures(loss, {"same_nearest": Figure(agree, torch.full_like(agree, len(cosines)))})


def nearest_images(cosines: torch.Tensor, count: int) -> torch.Tensor:
    """(B, B) cosines -> (B, min(count, B - 1)) int64, the nearest other images of each, the nearest first.

    The image itself is left out by its place. Public code drops the first of the sorted list, which is another image
    where a batch holds the same one twice.
    """
    others = cosines.clone().fill_diagonal_(-torch.inf)
    return others.topk(min(count, len(cosines) - 1), dim=1).indices


def ranking_loss(scores: torch.Tensor) -> torch.Tensor:
    """(B, L) scores in the order they should have -> (B,) negative log-likelihood of that order (Plackett-Luce)."""
    places = range(scores.shape[1])
    tails = [torch.logsumexp(scores[:, place:], dim=1) - scores[:, place] for place in places]
    return torch.stack(tails, dim=1).sum(dim=1) if tails else scores.sum(dim=1)
