"""What a face detector is: one protocol, one result, and the registry of those there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facedistill.registry import Registry


@dataclass(frozen=True)
class Faces:
    """The F faces that were found in one image, best score first; F may be 0.

    Attributes:
        boxes: (F, 4) float32, x1, y1, x2, y2 in pixels; they may reach outside the image.
        scores: (F,) float32, the detector's own confidence, 0 to 1.
        landmarks: (F, 5, 2) float32, x and y in pixels (the middle of the upper left pixel is 0, 0), in the order left
            eye, right eye, nose, left and right corner of the mouth; left is the image's left.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Faces:
        """No face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces and their five landmarks; the alignment knows nothing else of it.

    One detector is called from several threads at once.
    """

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, its name among it; JSON-ready, kept in the report of an alignment."""
        ...

    def detect(self, image: npt.NDArray[np.uint8], *, lenient: bool = False) -> Faces:
        """Find the faces of one image.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            lenient: accept weaker and smaller faces; asked for where a first look found none.
        """
        ...


DetectorFactory = Callable[..., FaceDetector]
"""Makes a detector; takes `min_face: int | None`, the side in pixels of the smallest face to look for."""

DETECTORS: Registry[DetectorFactory] = Registry("detector")
