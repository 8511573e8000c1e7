"""YuNet: the tiny detector of OpenCV's model zoo, from its file.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023. OpenCV has a class
of its own for it, cv2.FaceDetectorYN; the network runs through onnxruntime here all the same, since OpenCV 5.0.0
computes some networks wrongly.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import DETECTORS, DetectorInfo
from facedistill.align.detectors.pyramid_detector import PyramidDetector, PyramidTraits
from facedistill.align.detectors.single_shot import Candidates

THRESHOLD = 0.6
"""Lowest score of a face (ours; OpenCV's class takes 0.9, which leaves out turned and blurred faces)."""
LENIENT_THRESHOLD = 0.3
"""The same for a second look (ours)."""

_WANTED = "face_detection_yunet_2023mar.onnx or a later one of OpenCV's model zoo"
_OVERLAP = 0.3  # the default of OpenCV's class
_FACE = 32  # pixels, ours: YuNet is made for faces of 10 to 300 pixels, so the largest of a photo fits in as well
_SMALLEST = 10


@DETECTORS.register(
    "yunet",
    summary="the tiny network of OpenCV's model zoo, five landmarks",
    source="Wu et al. 2023, an ONNX file of yours",
)
class YuNet(PyramidDetector):
    """The YuNet detector; see `PyramidDetector` for its arguments.

    The file is face_detection_yunet_2023mar.onnx or a later one: twelve outputs, (1, N, 1) twice, (1, N, 4) and
    (1, N, 10) for each stride.
    """

    name = "yunet"
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="0.2 MB, face_detection_yunet_2023mar.onnx of OpenCV's model zoo",
        licence="MIT",
        missing=lambda: "give its file with --detector-file",
    )

    traits: ClassVar[PyramidTraits] = PyramidTraits(
        title="YuNet",
        wanted=_WANTED,
        scores=2,
        threshold=THRESHOLD,
        lenient_threshold=LENIENT_THRESHOLD,
        overlap=_OVERLAP,
        face=_FACE,
        smallest=_SMALLEST,
    )

    def _look(self, pictures: npt.NDArray[np.uint8], threshold: float) -> Candidates:
        # The network was trained on blue before red.
        pixels = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        boxes, scores, landmarks, owners = [], [], [], []
        for level in self._heads(pixels):
            is_face, has_object = level.scores
            score = np.sqrt(is_face.clip(0, 1) * has_object.clip(0, 1))
            picture, row = np.nonzero(score >= threshold)
            at = level.cells[row]
            box = level.boxes[picture, row]
            middles = (at + box[:, :2]) * level.stride
            with np.errstate(over="ignore"):
                sides = np.exp(box[:, 2:]) * level.stride
            boxes.append(np.concatenate([middles - sides / 2, middles + sides / 2], axis=1))
            # "Right eye" first, which is the person's: the one on the image's left, as everywhere here. Positions
            # count from the corner of the first pixel: the training mirrors x to width - x.
            points = level.keypoints[picture, row].reshape(-1, 5, 2)
            landmarks.append((at[:, None] + points) * level.stride)
            scores.append(score[picture, row])
            owners.append(picture)
        return Candidates(*map(np.concatenate, (boxes, scores, landmarks, owners)))
