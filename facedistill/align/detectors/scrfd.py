"""SCRFD: the detectors of the ArcFace authors, from a file in the form of their exports.

Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021 (arXiv 2105.04714). What goes in
and what comes out follow detection/scrfd in the insightface repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo, Faces, Photo
from facedistill.align.detectors.pyramid_heads import PyramidHeads
from facedistill.align.detectors.single_shot import Candidates, SingleShot
from facedistill.align.detectors.smallest_face import check_min_face
from facedistill.files import file_sha256

THRESHOLD = 0.5
"""Lowest score of a face (the authors' tool)."""
LENIENT_THRESHOLD = 0.3
"""The same for a second look (ours)."""

_WANTED = (
    "a file with keypoints, such as scrfd_2.5g_bnkps.onnx, scrfd_10g_bnkps.onnx, scrfd_34g_gnkps.onnx, or the"
    " det_*.onnx of an insightface model pack"
)
_OVERLAP = 0.4  # the authors' tool
_FACE = 64  # pixels, ours: the default smallest face makes a square photo 640 pixels wide, the authors' usual size
_SMALLEST = 8  # the finest stride


@DETECTORS.register(
    "scrfd",
    summary="insightface's detectors of 0.5 to 34 GFlops, five landmarks",
    source="arXiv 2105.04714, an ONNX file of yours",
)
class Scrfd:
    """The SCRFD detector.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the photo's shorter side, at
            least 20 pixels. It decides how far photos are shrunk.
        file: an ONNX file with keypoints: nine outputs, (N, 1), (N, 4) and (N, 10) for each stride.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads that the network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is below 8, or no file is given.
        ModelFileError: the file cannot be loaded or is no SCRFD with keypoints.
    """

    name = "scrfd"
    looks_again = True
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="3 to 40 MB, the det_*.onnx and scrfd_*kps.onnx of insightface",
        licence="non-commercial research only",
        missing=lambda: "give its file with --detector-file",
    )

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        check_min_face(min_face, _SMALLEST, "SCRFD")
        self.min_face = min_face
        self._heads = PyramidHeads(file, detector="SCRFD", scores=1, wanted=_WANTED, device=device, threads=threads)
        self._digest = None if file is None else file_sha256(file)
        self._shot = SingleShot(self._look, _FACE, _OVERLAP, self._heads.device, self._heads.size, self._heads.batches)

    @property
    def settings(self) -> dict[str, Any]:
        """Name, smallest face, threshold and the file's digest."""
        return {"name": self.name, "min_face": self.min_face, "threshold": THRESHOLD, "weights_sha256": self._digest}

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo; see `FaceDetector.detect`."""
        threshold = LENIENT_THRESHOLD if lenient else THRESHOLD
        return self._shot.detect(photos, threshold, min_face=self.min_face, lenient=lenient)

    def _look(self, pictures: npt.NDArray[np.uint8], threshold: float) -> Candidates:
        pixels = (pictures.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) * np.float32(1 / 128)
        boxes, scores, landmarks, owners = [], [], [], []
        for level in self._heads(pixels):
            (score,) = level.scores
            picture, row = np.nonzero(score >= threshold)
            # An anchor stands in the upper left corner of its cell. That positions count from the corner of the first
            # pixel follows from the training, which mirrors x to width - x.
            at = level.cells[row] * level.stride
            reach = level.boxes[picture, row] * level.stride
            boxes.append(np.concatenate([at - reach[:, :2], at + reach[:, 2:]], axis=1))
            points = level.keypoints[picture, row].reshape(-1, 5, 2)
            landmarks.append(at[:, None] + points * level.stride)
            scores.append(score[picture, row])
            owners.append(picture)
        return Candidates(*map(np.concatenate, (boxes, scores, landmarks, owners)))
