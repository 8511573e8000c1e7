"""A photo scaled and set in a border, and the way back: what a detector is shown instead of a tight or small photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facedistill.align.detectors.detector import Faces, Photo

_PADDING = 0.5  # of the longer side, on each side: a face that fills the photo then fills half of it


@dataclass(frozen=True)
class Framed:
    """A photo scaled by `factors` (x, y) and then set in a border of `border` pixels."""

    photo: Photo
    factors: tuple[float, float] = (1.0, 1.0)
    border: int = 0

    def undo(self, faces: Faces) -> Faces:
        """The faces in pixels of the photo as it was."""
        factors = np.array(self.factors, dtype=np.float32)
        # Boxes count from the upper left corner, landmarks from the middle of the upper left pixel.
        boxes = (faces.boxes - self.border) / np.tile(factors, 2)
        landmarks = (faces.landmarks - self.border + 0.5) / factors - 0.5
        return Faces(boxes.astype(np.float32), faces.scores, landmarks.astype(np.float32))


def frame(photo: Photo, scale: float, border_type: int = cv2.BORDER_CONSTANT) -> Framed:
    """The photo at `scale` times its size, with half of its longer side added on every side.

    Args:
        photo: of any size.
        scale: above 0.
        border_type: of OpenCV; BORDER_CONSTANT is black.
    """
    image = photo.image
    height, width = image.shape[:2]
    if scale != 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
    factors = (image.shape[1] / width, image.shape[0] / height)
    border = round(_PADDING * max(image.shape[:2]))
    padded = cv2.copyMakeBorder(image, border, border, border, border, border_type)
    return Framed(Photo(photo.name, np.asarray(padded, np.uint8)), factors, border)
