"""The one protocol that a checkpoint and an ONNX file share: uint8 RGB crops in, embeddings out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facedistill.preprocessing import Preprocessing


@runtime_checkable
class Embedder(Protocol):
    """A model that turns face crops into embeddings; the evaluator and the distiller know nothing else of it."""

    @property
    def name(self) -> str:
        """What to call it in a table, usually its file."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What it does to a crop before the network sees it."""
        ...

    @property
    def embedding_size(self) -> int:
        """D, the length of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its weights file, as hex."""
        ...

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, 3) uint8 RGB -> (N, D) float32, as the network gives them, not normalised.

        Crops of another size than the model's are resized by its preprocessing.
        """
        ...
