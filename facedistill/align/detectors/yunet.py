"""YuNet: the tiny detector of OpenCV's model zoo, from its file.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023. OpenCV has a class
of its own for it, cv2.FaceDetectorYN; the network runs through onnxruntime here all the same, since OpenCV 5.0.0
computes some networks wrongly.
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
class YuNet:
    """The YuNet detector.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the photo's shorter side, at
            least 20 pixels. It decides how far photos are shrunk.
        file: face_detection_yunet_2023mar.onnx or a later one: twelve outputs, (1, N, 1) twice, (1, N, 4) and
            (1, N, 10) for each stride.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads that the network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is below 10, or no file is given.
        ModelFileError: the file cannot be loaded or is no YuNet of 2023 or later.
    """

    name = "yunet"
    looks_again = True
    info: ClassVar[DetectorInfo] = DetectorInfo(
        weights="0.2 MB, face_detection_yunet_2023mar.onnx of OpenCV's model zoo",
        licence="MIT",
        missing=lambda: "give its file with --detector-file",
    )

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        check_min_face(min_face, _SMALLEST, "YuNet")
        self.min_face = min_face
        self._heads = PyramidHeads(file, detector="YuNet", scores=2, wanted=_WANTED, device=device, threads=threads)
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
