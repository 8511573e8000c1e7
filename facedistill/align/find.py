"""The faces of a batch of photos, with a second look at those that show none at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from facedistill.align.detectors.detector import FaceDetector, Faces, Photo
from facedistill.align.framed import frame

ATTEMPTS = ("plain", "padded", "lenient", "enlarged")
"""What `find_faces` tries in turn; the table names the one that succeeded."""

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
        views = [frame(photos[index], _scale(photos[index], enlarge=attempt == "enlarged")) for index in again]
        found = detector.detect([view.photo for view in views], lenient=attempt != "padded") if views else []
        for index, view, faces in zip(again, views, found, strict=True):
            sightings[index] = Sighting(view.undo(faces), attempt)
    return sightings


def _scale(photo: Photo, *, enlarge: bool) -> float:
    return _ENLARGEMENT if enlarge else min(1.0, _LARGEST_PADDED / max(photo.image.shape[:2]))
