"""Two photos beside each other, with the faces that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.images import encode_image
from facedistill.errors import UsageError
from facedistill.files import write_atomically
from facedistill.two_photos.find_face import FoundFace

_HEIGHT = 480  # pixels, of both photos
_GAP = 12
_COLOR = (64, 220, 90)  # RGB
SUFFIXES = (".png", ".jpg", ".jpeg")


def check_picture_path(path: Path) -> None:
    """UsageError where the suffix is none that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"a picture cannot be written as '{path.suffix}'", place=path, next_step="Use .png or .jpg")


def draw_faces(faces: Sequence[FoundFace], path: Path) -> None:
    """Write the photos at one height, each with its face's box and landmarks; the crops stand below.

    Raises:
        UsageError: the suffix is none that can be written.
    """
    check_picture_path(path)
    columns = [_column(face) for face in faces]
    height = max(len(column) for column in columns)
    padded = [np.pad(column, ((0, height - len(column)), (0, _GAP), (0, 0)), constant_values=255) for column in columns]
    write_atomically(path, encode_image(np.concatenate(padded, axis=1)[:, :-_GAP], path.suffix.lower(), 92))


def _column(face: FoundFace) -> npt.NDArray[np.uint8]:
    scale = _HEIGHT / face.photo.shape[0]
    width = max(round(face.photo.shape[1] * scale), 1)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = np.ascontiguousarray(cv2.resize(face.photo, (width, _HEIGHT), interpolation=way), dtype=np.uint8)
    x1, y1, x2, y2 = (round(float(value) * scale) for value in face.box)
    cv2.rectangle(photo, (x1, y1), (x2, y2), _COLOR, 2)
    for x, y in face.landmarks * scale:
        cv2.circle(photo, (round(float(x)), round(float(y))), 3, _COLOR, -1)
    rows = max(width, face.crop.shape[1])
    below = [
        np.pad(part, ((0, _GAP), (0, rows - part.shape[1]), (0, 0)), constant_values=255) for part in (photo, face.crop)
    ]
    return np.asarray(np.concatenate(below), dtype=np.uint8)
