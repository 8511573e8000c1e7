"""Cross-Architecture Distillation (Zhao et al., ACM MM 2023, arXiv 2306.14662), from a transformer to a CNN."""

from __future__ import annotations

import math

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional

from facedistill.distill.cross_architecture_mapping import LocalAttention, ReceptiveFieldMapping, held_fixed
from facedistill.distill.method import DistillationBatch, MethodOptions, Needs, Setting, register_method
from facedistill.distill.prompts import PromptedTeacher
from facedistill.errors import UsageError
from facedistill.loss import Figure, LossAndFigures
from facedistill.models.vit import VisionTransformer

HEADS = 4
"""Heads of the attention among local features. Ours."""

PROMPTS = 8
"""Prompts of each block where nothing else is asked for and the teacher can take them. Ours."""

FORMULA = """\
L = w_a * L_attn + w_f * L_feat [+ w_k * L_keep] + L_recall

Published: the Unified Receptive Fields Mapping gives h_T and h_S, each L x d, of the pixels (or tokens) f_j:
  e_lj = (q_l W_q + b_lj) (f_j W_k)^T / sqrt(d),   h_l = sum over j of softmax_j(e_lj) f_j W_v
  b_lj = P[ I(D(l, j)) ],   D = Euclidean distance to an anchor + gamma * D_face
  L_attn = MSE(Attn_T, Attn_S),   L_feat = MSE(MSA(h_T), MSA(h_S))
  q_l: L learnable centres; P: a learnable table; I: the index function of iRPE; D_face: relative to the landmarks;
  Attn: L x L attention within MSA, the self-attention among the local features.
  A transformer teacher stays frozen and reads t learnable prompts in every block, which are dropped behind it.
  The margin loss that the paper adds is a term of its own here: --plus margin-softmax. Without a term on embeddings
  the last layers of the student learn nothing.

Ours, for lack of the paper's values: w_a, w_f, gamma, t, L, d, the table's length and the heads; and
  - anchors on a square grid over the crop, one for each centre; D_face(l, j) = root of the mean over the five landmarks
    of the squared difference between the distances of pixel and anchor to the landmark; lengths in sevenths of a side;
  - f, h and MSA(h) standardised over their channels, so that no scale can shrink;
  - the teacher's mapping, the centres and MSA learn only from L_recall = 1 - cos(W vec(MSA(h_T)), teacher's embedding);
    L_attn and L_feat reach the student, its mapping and the prompts. Otherwise both sides could agree on a constant;
  - L_keep = 1 - cos(embedding with prompts, embedding without), where there are prompts."""


class CrossArchitectureOptions(MethodOptions):
    """Options of Cross-Architecture Distillation; the paper's values are not known, all defaults are ours."""

    queries: int = Field(default=16, ge=4, le=1024, description="L, query centres, a square number (ours)")
    width: int = Field(
        default=64, ge=HEADS, le=4096, multiple_of=HEADS, description="d, length of a local feature (ours)"
    )
    buckets: int = Field(default=8, ge=2, le=1024, description="rows of the position table (ours)")
    gamma: float = Field(default=1.0, ge=0, description="weight of the facial distance in the position term (ours)")
    attention: float = Field(default=100.0, ge=0, description="w_a, weight of the attention term (ours)")
    feature: float = Field(default=1.0, ge=0, description="w_f, weight of the feature term (ours)")
    prompts: int | None = Field(
        default=None, ge=0, description=f"t, prompts a block (ours); {PROMPTS} for a vit teacher, none for others"
    )
    keep: float = Field(default=10.0, ge=0, description="w_k, how firmly prompts keep the teacher's embedding (ours)")

    @field_validator("queries")
    @classmethod
    def is_square(cls, queries: int) -> int:
        """The centres' anchors fill a square grid."""
        side = math.isqrt(queries)
        if side * side != queries:
            raise ValueError(f"Has to be a square number such as {side * side} or {(side + 1) ** 2}")
        return queries


@register_method(
    "cross-architecture",
    options=CrossArchitectureOptions,
    needs=Needs(features=True),
    summary="attention and local features of common receptive fields, by learnable queries",
    source="arXiv 2306.14662",
    formula=FORMULA,
    published="Claims several points more than other distillation from a transformer to a CNN, trained on MS1MV2; "
    "its tables were not found",
)
class CrossArchitectureDistillation(nn.Module):
    """See the formula. A mean over images, without any running state.

    What becomes a parameter here and is trained with the student: both mappings, the centres, the self-attention among
    local features, the layer that recalls the teacher's embedding, and the prompts. The teacher's weights do not.

    Finite in every case: features of zero are standardised to zero and give local features of zero; with features that
    are the same for all images the terms compare what is the same; a teacher's embedding of zero counts as orthogonal
    to what is recalled; a batch may be of one image. Labels are not looked at.

    Works in the precision of its parameters, float32 unless the module was moved to another, whatever the autocast.

    Args:
        options: sizes and weights.
        setting: with the shapes of the features, and with the teacher's network where prompts are wanted.

    Raises:
        UsageError: there are no features, or prompts are asked for and the teacher is no vision transformer of ours.
    """

    def __init__(self, options: CrossArchitectureOptions, setting: Setting) -> None:
        super().__init__()
        if setting.student_features is None or setting.teacher_features is None:
            raise UsageError(
                "cross-architecture compares feature maps, and there are none",
                next_step="Teach live, with a torch teacher: --cache off",
            )
        self.options = options
        sizes = {"centres": options.queries, "width": options.width, "buckets": options.buckets}
        self.student_mapping = ReceptiveFieldMapping(setting.student_features, **sizes, gamma=options.gamma)
        self.teacher_mapping = ReceptiveFieldMapping(setting.teacher_features, **sizes, gamma=options.gamma)
        self.centres = nn.Parameter(torch.randn(options.queries, options.width))
        self.mixing = LocalAttention(options.width, HEADS)
        self.recall = nn.Linear(options.queries * options.width, setting.teacher_size)
        self.prompted: PromptedTeacher | None = None
        count = options.prompts
        if count is None:
            count = PROMPTS if isinstance(setting.teacher_backbone, VisionTransformer) else 0
        if count:
            if setting.teacher_backbone is None:
                raise UsageError("prompts go into a live torch teacher, and there is none")
            self.prompted = PromptedTeacher(setting.teacher_backbone, count)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """The weighted sum of the terms, and each of them.

        Args:
            batch: with the features of both networks and, where there are prompts, the teacher's images.
        """
        dtype = self.centres.dtype
        prompted = None
        if self.prompted is None:
            assert batch.teacher_features is not None  # noqa: S101 - asked for by Needs
            teacher_features = batch.teacher_features.detach()
        else:
            assert batch.teacher_images is not None  # noqa: S101 - likewise
            prompted, teacher_features = self.prompted(batch.teacher_images)
        assert batch.student_features is not None  # noqa: S101 - likewise
        with torch.autocast(batch.student.device.type, enabled=False):
            teacher = batch.teacher.detach().to(dtype)
            attention, feature, spread = self.compare(batch.student_features.to(dtype), teacher_features.to(dtype))
            recalled = functional.cosine_similarity(self.recalled(teacher_features.detach().to(dtype)), teacher)
            size = torch.full_like(recalled[0].detach(), len(recalled))
            terms = {"attention": attention, "feature": feature, "recalled": recalled.mean(), "spread": spread}
            loss = self.options.attention * attention + self.options.feature * feature + 1 - recalled.mean()
            if prompted is not None:
                terms["kept"] = functional.cosine_similarity(prompted.to(dtype), teacher).mean()
                loss = loss + self.options.keep * (1 - terms["kept"])
            # A gradient of zero instead of none for the student's last layers: processes exchange all of them.
            loss = loss + 0 * batch.student.sum()
        return LossAndFigures(loss, {name: Figure(term.detach() * size, size) for name, term in terms.items()})

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """L_attn, L_feat, and how far the images lie apart on the teacher's side.

        Args:
            student: features of the student.
            teacher: features of the teacher; both (B, C, H, W) or (B, N, C).

        Returns:
            Three 0-d tensors. The last one is the mean variance over the batch of the values of MSA(h_T): 0 where it
            says the same of all images, near 1 where it tells nothing but what differs between them.
        """
        centres = self.centres.detach()
        target_attention, target = held_fixed(self.mixing, held_fixed(self.teacher_mapping, centres, teacher))
        attention, mixed = held_fixed(self.mixing, self.student_mapping(centres, student))
        spread = target.detach().var(dim=0, correction=0).mean()
        return functional.mse_loss(attention, target_attention), functional.mse_loss(mixed, target), spread

    def recalled(self, teacher: torch.Tensor) -> torch.Tensor:
        """Features of the teacher, map or tokens -> what its local features tell of its embedding, (B, T)."""
        _, mixed = self.mixing(self.teacher_mapping(self.centres, teacher))
        embeddings: torch.Tensor = self.recall(mixed.flatten(1))
        return embeddings
