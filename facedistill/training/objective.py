"""What a backbone is trained for: to tell the training identities apart, or to follow a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facedistill.data.batches.augmentation import Augmentation
from facedistill.distill.method import DistillationBatch, DistillationMethod
from facedistill.errors import DataError
from facedistill.heads import MarginHead, PartialFC
from facedistill.loss import LossAndFigures
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import gather
from facedistill.shown_name import shown_name
from facedistill.training.guards import Chance


class Classification(nn.Module):
    """Cross-entropy over the training identities through a margin head.

    Attributes:
        whole_batch: whether loss and figures are those of all processes together.
        chance: what a head reaches that knows nothing.
    """

    def __init__(self, head: MarginHead | PartialFC) -> None:
        super().__init__()
        self.head = head
        self.whole_batch = isinstance(head, PartialFC)
        sampled = head.sample_rate if isinstance(head, PartialFC) else 1.0
        self.chance: Chance | None = Chance(head.loss_at_chance(), 1 / (head.identities * sampled))

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None) -> LossAndFigures:
        """Embeddings (B, D), labels (B,) -> mean cross-entropy, and the share of images given their own class."""
        output: LossAndFigures = self.head(embeddings, labels)
        return output

    def sharded_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of which every process has another part."""
        return self.head.parameters() if isinstance(self.head, PartialFC) else ()

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Let a head that trains some of its centres at a time follow the optimizer's steps."""
        self.head.attach(optimizer)


class Distillation(nn.Module):
    """A distillation method; see `facedistill.distill`. Methods that compare images see those of all processes.

    Attributes:
        whole_batch: whether loss and figures are those of all processes together.
    """

    chance: Chance | None = None

    def __init__(self, method: DistillationMethod) -> None:
        super().__init__()
        self.method = method
        self.whole_batch = method.needs.pairs

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None) -> LossAndFigures:
        """Embeddings (B, D), labels (B,), teacher (B, T) where the method needs one -> its loss and figures."""
        if teacher is None:
            teacher = embeddings.new_zeros(len(embeddings), 0)
        batch = DistillationBatch(embeddings, teacher, labels)
        if self.whole_batch:
            batch = DistillationBatch(*map(gather, batch))
        return self.method(batch)

    def sharded_parameters(self) -> Iterable[nn.Parameter]:
        """None; a method's parameters are the same in all processes."""
        return ()

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing to do."""


Objective = Classification | Distillation


class EmbeddingStep(nn.Module):
    """From uint8 crops to embeddings, in one forward call, so that one wrapper serves precision and devices.

    Args:
        backbone: float (N, 3, S, S) -> float (N, D).
        preprocessing: how crops become the backbone's input.
        augmentation: what is done to the crops first, None for nothing.
    """

    def __init__(
        self, backbone: nn.Module, preprocessing: Preprocessing, augmentation: Augmentation | None = None
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.backbone = backbone
        self.preprocessing = preprocessing

    def forward(self, images: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Crops (B, S, S, 3) uint8 RGB, mirrored (B,) bool -> embeddings (B, D)."""
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        if self.augmentation is not None:
            images = self.augmentation(images)
        embeddings: torch.Tensor = self.backbone(self.preprocessing.to_tensor(images))
        return embeddings


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
