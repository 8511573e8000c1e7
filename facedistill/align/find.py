"""The faces of a batch of photos, with a second look at those that show none at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from facedistill.align.detectors.detector import FaceDetector, Faces, Photo

ATTEMPTS = ("plain", "padded", "lenient", "enlarged")
"""What `find_faces` tries in turn; the table names the one that succeeded."""

_PADDING = 0.5  # of the longer side, on each side: a face that fills the photo then fills half of it
_LARGEST_PADDED = (
    1000  # pixels of the longer side; what a border helps to find is large, so a small picture of it will do
)
_ENLARGEMENT = 2.0
_LARGEST_ENLARGED = 500  # pixels of the longer side; a face too small for the detector does not hide in a larger photo


@dataclass(frozen=True)
class Sighting:
    """What a photo shows.

    Attributes:
        faces: the faces, in pixels of the photo; none where every attempt failed.
        attempt: which of `ATTEMPTS` found them, the last one tried where none did.
    """

    faces: Faces
    attempt: str


def find_faces(photos: Sequence[Photo], detector: FaceDetector) -> list[Sighting]:
    """Find the faces of each photo.

    Where a photo as it is shows the detector no face, three more attempts follow: with a border around it (tight crops
    leave the face no surroundings), then with the detector's lenient setting too, then enlarged as well.
    """
    sightings = [Sighting(faces, ATTEMPTS[0]) for faces in detector.detect(photos)]
    if not detector.looks_again:
        return sightings
    for attempt in ATTEMPTS[1:]:
        again = [index for index, sighting in enumerate(sightings) if not len(sighting.faces)]
        if attempt == "enlarged":
            again = [index for index in again if max(photos[index].image.shape) <= _LARGEST_ENLARGED]
        views = [_view(photos[index], enlarge=attempt == "enlarged") for index in again]
        found = detector.detect([view.photo for view in views], lenient=attempt != "padded") if views else []
        for index, view, faces in zip(again, views, found, strict=True):
            sightings[index] = Sighting(view.undo(faces), attempt)
    return sightings


@dataclass(frozen=True)
class _View:
    """A photo scaled by `factors` (x, y) and then set in a black border of `border` pixels."""

    photo: Photo
    factors: tuple[float, float]
    border: int

    def undo(self, faces: Faces) -> Faces:
        """The faces in pixels of the photo as it was."""
        factors = np.array(self.factors, dtype=np.float32)
        # Boxes count from the upper left corner, landmarks from the middle of the upper left pixel.
        boxes = (faces.boxes - self.border) / np.tile(factors, 2)
        landmarks = (faces.landmarks - self.border + 0.5) / factors - 0.5
        return Faces(boxes.astype(np.float32), faces.scores, landmarks.astype(np.float32))


def _view(photo: Photo, *, enlarge: bool) -> _View:
    image = photo.image
    height, width = image.shape[:2]
    scale = _ENLARGEMENT if enlarge else min(1.0, _LARGEST_PADDED / max(height, width))
    if scale != 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
    factors = (image.shape[1] / width, image.shape[0] / height)
    border = round(_PADDING * max(image.shape[:2]))
    padded = np.pad(image, ((border, border), (border, border), (0, 0)))
    return _View(Photo(photo.name, padded), factors, border)
