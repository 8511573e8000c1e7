"""Landmarks that somebody has already: a table of five points a photo takes the place of a detector."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo, Faces, Photo
from facedistill.align.detectors.landmark_file import Floats, read_landmarks
from facedistill.errors import UsageError
from facedistill.files import file_sha256
from facedistill.onnx_session import check_device

BOX_SIDE = 2.4
"""Side of the box that is made around landmarks without one, in longer sides of the landmarks' own bounding box (ours:
about the size of MTCNN's boxes)."""


@DETECTORS.register(
    "landmarks",
    summary="no network: five points a photo from a CSV or JSON file of yours",
    source="such as the landmarks.csv of an earlier alignment",
)
class Landmarks:
    """The faces that a file names, for photos by their names; a photo that is not in the file has no face.

    A name is looked up as it stands in the file first; then with slashes for backslashes and without a leading "./".
    A face without a box gets a square around the middle of its landmarks' bounding box, with 2.4 times its longer side;
    one whose landmarks are not finite gets a box of no size. A face without a score gets 1.

    Args:
        min_face: not used: all faces of the file are given, and whoever chooses among them sees their sizes.
        file: the file, see `read_landmarks`.
        device: "auto" or "cpu"; nothing is computed.
        threads: not used.

    Raises:
        UsageError: no file is given, or the device is "cuda" or unknown.
        DataError: the file cannot be read; see `read_landmarks`.
    """

    name = "landmarks"
    looks_again = False
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="none, a file of five points a photo",
        licence="that of your file",
        missing=lambda: "give its file with --detector-file",
    )

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        if file is None:
            raise UsageError(
                "the detector 'landmarks' needs a file of landmarks",
                next_step="Give a CSV or JSON file with --detector-file, such as the landmarks.csv of an alignment",
            )
        check_device(device)
        if device == "cuda":
            raise UsageError("the detector 'landmarks' does not run on cuda", next_step="Leave --device out")
        photos, points, scores, boxes = read_landmarks(file)
        self._digest = file_sha256(file)
        without = np.isnan(boxes).all(axis=1)
        boxes[without] = box_around(points[without])
        self._faces = Faces(boxes, np.where(np.isnan(scores), np.float32(1), scores), points)
        self._rows: dict[str, list[int]] = defaultdict(list)
        self._rows_by_path: dict[str, list[int]] = defaultdict(list)
        for row, photo in enumerate(photos):
            self._rows[photo].append(row)
            self._rows_by_path[photo.replace("\\", "/").removeprefix("./")].append(row)

    @property
    def settings(self) -> dict[str, Any]:
        """Name and the file's digest."""
        return {"name": self.name, "file_sha256": self._digest}

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo; see `FaceDetector.detect`."""
        return [self._of(photo.name) for photo in photos]

    def _of(self, photo: str) -> Faces:
        rows = self._rows.get(photo) or self._rows_by_path.get(photo, [])
        faces = self._faces[np.array(rows, dtype=np.intp)]
        return faces[np.argsort(-faces.scores, kind="stable")]


def box_around(points: Floats) -> Floats:
    """(F, 4) boxes around (F, 5, 2) landmarks: see `Landmarks`."""
    # A box that is not finite would win every comparison of faces, or none.
    finite = np.isfinite(points).all(axis=(1, 2), keepdims=True)
    points = np.where(finite, points, np.float32(0))
    low, high = points.min(axis=1), points.max(axis=1)
    half = (high - low).max(axis=1, keepdims=True) * np.float32(BOX_SIDE / 2)
    middle = (low + high) / 2
    return np.concatenate([middle - half, middle + half], axis=1)
