"""Face detectors with five landmarks, by registry name."""

from __future__ import annotations

from facedistill.align.detectors import mtcnn as _mtcnn  # noqa: F401  (registers itself)
from facedistill.align.detectors.detector import DETECTORS, FaceDetector, Faces

__all__ = ["DETECTORS", "FaceDetector", "Faces"]
