"""The one face of a photo that is meant: which of several, and what to try where none is seen at first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import FaceDetector, Faces

ATTEMPTS = ("plain", "padded", "lenient", "enlarged")
"""What `find_main_face` tries in turn; the report names the one that succeeded."""

CENTRE_WEIGHT = 2.0
"""Weight of the squared distance from the image's centre against the face's area (the custom of FaceNet's aligner)."""

_PADDING = 0.5  # of the longer side, on each side: a face that fills the photo then fills half of it
_LARGEST_PADDED = (
    1000  # pixels of the longer side; what a border helps to find is large, so a small picture of it will do
)
_ENLARGEMENT = 2.0
_LARGEST_ENLARGED = 500  # pixels of the longer side; a face too small for the detector does not hide in a larger photo


@dataclass(frozen=True)
class MainFace:
    """The chosen face of one photo.

    Attributes:
        box: (4,) float32, x1, y1, x2, y2 in pixels of the photo.
        score: the detector's confidence, 0 to 1.
        landmarks: (5, 2) float32 pixels of the photo, in the order of `Faces`.
        faces: how many faces were found in all.
        attempt: which of `ATTEMPTS` found it.
    """

    box: npt.NDArray[np.float32]
    score: float
    landmarks: npt.NDArray[np.float32]
    faces: int
    attempt: str


def find_main_face(image: npt.NDArray[np.uint8], detector: FaceDetector) -> MainFace | None:
    """The main face of a (H, W, 3) uint8 RGB photo, or None.

    Where the photo as it is shows the detector no face, three more attempts follow: with a border around it (tight
    crops leave the face no surroundings), then with the detector's lenient setting too, then enlarged as well.
    """
    longer = max(image.shape[:2])
    shrinking = min(1.0, _LARGEST_PADDED / longer)
    attempts = [(0.0, 1.0, False), (_PADDING, shrinking, False), (_PADDING, shrinking, True)]
    if longer <= _LARGEST_ENLARGED:
        attempts.append((_PADDING, _ENLARGEMENT, True))
    for name, (padding, scale, lenient) in zip(ATTEMPTS, attempts, strict=False):
        faces = _look(image, detector, padding, scale, lenient)
        if len(faces):
            return main_face(faces, image.shape, name)
    return None


def main_face(faces: Faces, shape: tuple[int, ...], attempt: str = "plain") -> MainFace:
    """The face with the greatest area - 2 distance^2, the distance from its middle to the image's centre in pixels.

    Args:
        faces: one or more.
        shape: (H, W, ...) of the photo.
        attempt: kept in the result.
    """
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    distances = ((middles - (shape[1] / 2, shape[0] / 2)) ** 2).sum(axis=1)
    best = int(np.argmax(sides.prod(axis=1) - CENTRE_WEIGHT * distances))
    return MainFace(faces.boxes[best], float(faces.scores[best]), faces.landmarks[best], len(faces), attempt)


def _look(image: npt.NDArray[np.uint8], detector: FaceDetector, padding: float, scale: float, lenient: bool) -> Faces:
    """The faces of the photo, scaled and with a black border around it, in pixels of the photo as it was."""
    height, width = image.shape[:2]
    if scale != 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
    factors = np.array([image.shape[1] / width, image.shape[0] / height], dtype=np.float32)
    border = round(padding * max(image.shape[:2]))
    if border:
        image = np.pad(image, ((border, border), (border, border), (0, 0)))
    faces = detector.detect(image, lenient=lenient)
    # Boxes count from the upper left corner, landmarks from the middle of the upper left pixel.
    boxes = (faces.boxes - border) / np.tile(factors, 2)
    landmarks = (faces.landmarks - border + 0.5) / factors - 0.5
    return Faces(boxes.astype(np.float32), faces.scores, landmarks.astype(np.float32))
