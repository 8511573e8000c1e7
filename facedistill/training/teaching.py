"""How a teacher's embeddings reach a training step: looked up, or computed of the very views that the student sees."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from facedistill.embedders.cached_rows import TeacherRows
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import TrainingError
from facedistill.models.features import FeatureTap


class Lesson(NamedTuple):
    """What a teacher says of a batch.

    Attributes:
        embeddings: (B, T) float32 on the run's device, without gradient.
        features: its last feature map or tokens, None where they are not asked for.
        images: (B, 3, S, S) float, the views as the teacher's network takes them; None likewise.
    """

    embeddings: torch.Tensor
    features: torch.Tensor | None = None
    images: torch.Tensor | None = None


class Teaching(Protocol):
    """A teacher in the training loop."""

    def lesson(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_], views: torch.Tensor) -> Lesson:
        """What it says of a batch.

        Args:
            indices: (B,) which images of the data set.
            mirrored: (B,) which of them the student sees mirrored.
            views: (B, S, S, 3) uint8 RGB on the run's device, what the student sees: mirrored and augmented.
        """
        ...


class CachedTeaching:
    """The teacher's embeddings of every training crop and of its mirror image, looked up by index.

    Of the crops as they lie in the data set: what augmentation does to them, this teacher has not seen.

    Args:
        rows: the embeddings.
    """

    def __init__(self, rows: TeacherRows) -> None:
        self.rows = rows

    def lesson(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_], views: torch.Tensor) -> Lesson:
        """The embeddings of the crops, or of their mirror images, before any augmentation.

        Raises:
            DataError: an image was corrupt when the teacher saw it, and is not any more.
            ModelFileError: a row of a cache is damaged.
        """
        rows = torch.from_numpy(self.rows.lookup(indices, mirrored))
        if views.device.type == "cuda":
            rows = rows.pin_memory()
        return Lesson(rows.to(views.device, non_blocking=True))


class LiveTeaching:
    """A teacher that looks at every view as the student does, at the price of a forward pass of its own.

    Args:
        teacher: any model; one of torch stays on its device, any other is handed arrays.
        features: give its last features and its input too; only a torch model has them.
    """

    def __init__(self, teacher: Embedder, *, features: bool = False) -> None:
        self.teacher = teacher
        self._tap = None
        if isinstance(teacher, TorchEmbedder):
            teacher.backbone.eval()
        if features:
            if not isinstance(teacher, TorchEmbedder):
                raise TypeError("only a torch teacher has features")
            self._tap = FeatureTap(teacher.backbone)

    @torch.no_grad()
    def lesson(self, indices: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_], views: torch.Tensor) -> Lesson:
        """Embeddings of the views.

        Raises:
            TrainingError: an embedding is not finite. A torch teacher's are not looked at, which would mean waiting for
                the device; there the loss tells, when that is looked at next.
        """
        if isinstance(self.teacher, TorchEmbedder):
            images = self.teacher.prepare(views)
            embeddings = self.teacher.backbone(images).float()
            if self._tap is None:
                return Lesson(embeddings)
            return Lesson(embeddings, self._tap.take(), images)
        rows = self.teacher.embed(views.cpu().numpy())
        if not np.isfinite(rows).all():
            raise TrainingError(
                f"the teacher {self.teacher.name} gives embeddings that are not finite",
                next_step="Its weights may be damaged, or half precision may overflow",
            )
        return Lesson(torch.from_numpy(rows).to(views.device))
