"""The face of a photo that is to be compared: found, and cut out as the model wants it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facedistill.align.choice import Limits, choose
from facedistill.align.detectors.detector import FaceDetector, Photo
from facedistill.align.find import find_faces
from facedistill.align.similarity import estimate_similarity, warp
from facedistill.align.template import template
from facedistill.data.images import read_image
from facedistill.errors import DataError


@dataclass(frozen=True, eq=False)
class FoundFace:
    """The main face of a photo.

    Args:
        path: the photo.
        photo: (H, W, 3) uint8 RGB.
        box: (4,) x1, y1, x2, y2 in pixels.
        landmarks: (5, 2) x, y in pixels.
        score: the detector's confidence, 0 to 1.
        others: how many more faces the photo shows.
        crop: (S, S, 3) uint8 RGB, aligned to the ArcFace template.
    """

    path: Path
    photo: npt.NDArray[np.uint8]
    box: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]
    score: float
    others: int
    crop: npt.NDArray[np.uint8]


def find_face(path: Path, detector: FaceDetector, size: int) -> FoundFace:
    """The face of a photo that is large and near its middle, as a crop of `size` pixels.

    Raises:
        DataError: the photo cannot be read, or shows no face.
    """
    photo = read_image(path)
    (sighting,) = find_faces([Photo(path.name, photo)], detector)
    faces = sighting.faces
    chosen, _ = choose(faces, photo.shape, "main", Limits())
    if not chosen:
        raise DataError(
            "no face is found", place=path, next_step="Take a photo that shows it from the front, upright and not small"
        )
    main = chosen[0]
    landmarks = faces.landmarks[main]
    crop = warp(photo, estimate_similarity(landmarks, template(size)), size)
    return FoundFace(path, photo, faces.boxes[main], landmarks, float(faces.scores[main]), len(faces) - 1, crop)
