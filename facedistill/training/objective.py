"""What a backbone is trained for: to tell the training identities apart, or to follow a teacher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from facedistill.data.batches.augmentation import Augmentation
from facedistill.distill.method import DistillationBatch, DistillationMethod
from facedistill.errors import DataError
from facedistill.heads import MarginHead
from facedistill.loss import Figure, LossAndFigures
from facedistill.preprocessing import Preprocessing
from facedistill.shown_name import shown_name


class Classification(nn.Module):
    """Cross-entropy over the training identities through a margin head."""

    def __init__(self, head: MarginHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None) -> LossAndFigures:
        """Embeddings (B, D), labels (B,) -> mean cross-entropy; logs the share of images given their own class."""
        cosine = self.head.cosine(embeddings)
        loss = functional.cross_entropy(self.head.logits(cosine, labels), labels)
        # Counted without the margin, since the margin is a handicap of training that nobody has in use.
        correct = (cosine.detach().argmax(dim=1) == labels).sum()
        return LossAndFigures(loss, {"train_accuracy": Figure(correct, torch.full_like(correct, len(labels)))})


class Distillation(nn.Module):
    """A distillation method; see `facedistill.distill`."""

    def __init__(self, method: DistillationMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None) -> LossAndFigures:
        """Embeddings (B, D), labels (B,), teacher (B, T) where the method needs one -> its loss and figures."""
        if teacher is None:
            teacher = embeddings.new_zeros(len(embeddings), 0)
        return self.method(DistillationBatch(embeddings, teacher, labels))


Objective = Classification | Distillation


class TrainingStep(nn.Module):
    """From uint8 crops to a loss, in one forward call, so that one wrapper serves precision and devices.

    Args:
        backbone: float (N, 3, S, S) -> float (N, D).
        preprocessing: how crops become the backbone's input.
        objective: embeddings to loss.
        augmentation: what is done to the crops first, None for nothing.
    """

    def __init__(
        self,
        backbone: nn.Module,
        preprocessing: Preprocessing,
        objective: Objective,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.backbone = backbone
        self.preprocessing = preprocessing
        self.objective = objective

    def forward(
        self, images: torch.Tensor, mirrored: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None
    ) -> LossAndFigures:
        """Crops (B, S, S, 3) uint8 RGB, mirrored (B,) bool, labels (B,) int64, teacher (B, T) or None."""
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        if self.augmentation is not None:
            images = self.augmentation(images)
        embeddings = self.backbone(self.preprocessing.to_tensor(images))
        output: LossAndFigures = self.objective(embeddings, labels, teacher)
        return output


class TeacherEmbeddings:
    """The teacher's embeddings of every training crop and of its mirror image, looked up by index.

    Args:
        original: (N, T) float32; rows of corrupt images are NaN.
        mirrored: (N, T) float32, likewise.
        key_of: the name of an image, for messages.
    """

    def __init__(
        self, original: npt.NDArray[np.float32], mirrored: npt.NDArray[np.float32], key_of: Callable[[int], str] = str
    ) -> None:
        self.original = original
        self.mirrored = mirrored
        self._key_of = key_of

    def lookup(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """(B, T) float32: for each image the embedding of the version that the student sees.

        Raises:
            DataError: an image was corrupt when the teacher saw it, and is not any more.
        """
        rows = np.where(mirrored[:, None], self.mirrored[indices], self.original[indices])
        if not np.isfinite(rows).all():
            index = int(indices[int(np.isfinite(rows).all(axis=1).argmin())])
            raise DataError(
                f"the teacher has no embedding of '{shown_name(self._key_of(index))}': it was corrupt then",
                next_step="Embed the data set again",
            )
        return rows
