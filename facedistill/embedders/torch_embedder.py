"""A torch checkpoint as an embedder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from facedistill.checkpoint import Checkpoint
from facedistill.models.layers import channels_last
from facedistill.preprocessing import Preprocessing


class TorchEmbedder:
    """A backbone in eval mode on one device.

    Args:
        backbone: float (N, 3, S, S) -> float (N, D); put into eval mode and moved to `device`.
        preprocessing: what the backbone expects.
        embedding_size: D.
        name: what to call it in a table.
        device: where it runs.
        fingerprint: hex digest of its weights file.
    """

    def __init__(
        self,
        backbone: nn.Module,
        preprocessing: Preprocessing,
        embedding_size: int,
        *,
        name: str,
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.backbone = channels_last(backbone.to(device))
        self.preprocessing = preprocessing
        self.embedding_size = embedding_size
        self.name = name
        self.device = device
        self.fingerprint = fingerprint

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, name: str, device: torch.device) -> TorchEmbedder:
        """The embedder of a loaded checkpoint."""
        return cls(
            checkpoint.backbone,
            checkpoint.preprocessing,
            checkpoint.spec.embedding_size,
            name=name,
            device=device,
            fingerprint=checkpoint.fingerprint,
        )

    def prepare(self, views: torch.Tensor) -> torch.Tensor:
        """(N, S, S, 3) uint8 RGB on this device -> (N, 3, size, size) float, the network's input, resized if need be.

        Resizing stays on the device, by torch; it rounds otherwise than `embed`, which resizes by OpenCV.
        """
        size = self.preprocessing.size
        if views.shape[1] != size:
            moved = views.permute(0, 3, 1, 2).float()
            moved = functional.interpolate(moved, size=(size, size), mode="bilinear", antialias=True)
            views = moved.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return self.preprocessing.to_tensor(views)

    @torch.inference_mode()
    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, 3) uint8 RGB -> (N, D) float32, not normalised; the backbone's own mode is restored after."""
        was_training = self.backbone.training
        self.backbone.eval()
        batch = torch.from_numpy(np.ascontiguousarray(self.preprocessing.resize(images))).to(self.device)
        embeddings = self.backbone(self.preprocessing.to_tensor(batch))
        self.backbone.train(was_training)
        return np.asarray(embeddings.float().cpu().numpy(), dtype=np.float32)
