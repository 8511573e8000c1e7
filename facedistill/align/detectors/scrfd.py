"""SCRFD: the detectors of the ArcFace authors, from a file in the form of their exports.

Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021 (arXiv 2105.04714). What goes in
and what comes out follow detection/scrfd in the insightface repository.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo
from facedistill.align.detectors.pyramid_detector import PyramidDetector, PyramidTraits
from facedistill.align.detectors.single_shot import Candidates

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
class Scrfd(PyramidDetector):
    """The SCRFD detector; see `PyramidDetector` for its arguments.

    The file has to be one with keypoints: nine outputs, (N, 1), (N, 4) and (N, 10) for each stride.
    """

    name = "scrfd"
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="3 to 40 MB, the det_*.onnx and scrfd_*kps.onnx of insightface",
        licence="non-commercial research only",
        missing=lambda: "give its file with --detector-file",
    )

    traits: ClassVar[PyramidTraits] = PyramidTraits(
        title="SCRFD",
        wanted=_WANTED,
        scores=1,
        threshold=THRESHOLD,
        lenient_threshold=LENIENT_THRESHOLD,
        overlap=_OVERLAP,
        face=_FACE,
        smallest=_SMALLEST,
    )

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
