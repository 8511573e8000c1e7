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
_ENLARGEMENT = 2
_LARGEST_TO_ENLARGE = 500  # pixels of the shorter side; a face too small for the detector does not hide in more


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
    faces = detector.detect(image)
    if len(faces):
        return main_face(faces, image.shape, "plain")
    border = round(_PADDING * max(image.shape[:2]))
    padded = np.pad(image, ((border, border), (border, border), (0, 0)))
    for attempt in ("padded", "lenient"):
        faces = detector.detect(padded, lenient=attempt == "lenient")
        if len(faces):
            return main_face(_moved(faces, 1, border), image.shape, attempt)
    if min(image.shape[:2]) > _LARGEST_TO_ENLARGE:
        return None
    enlarged = cv2.resize(padded, None, fx=_ENLARGEMENT, fy=_ENLARGEMENT, interpolation=cv2.INTER_LINEAR)
    faces = detector.detect(np.asarray(enlarged, np.uint8), lenient=True)
    return main_face(_moved(faces, _ENLARGEMENT, border), image.shape, "enlarged") if len(faces) else None


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


def _moved(faces: Faces, scale: int, border: int) -> Faces:
    """Boxes and landmarks of the padded and enlarged photo, in pixels of the photo itself."""
    # Boxes count from the upper left corner, landmarks from the middle of the upper left pixel.
    boxes = faces.boxes / scale - border
    landmarks = (faces.landmarks + 0.5) / scale - 0.5 - border
    return Faces(boxes.astype(np.float32), faces.scores, landmarks.astype(np.float32))
