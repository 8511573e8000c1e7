"""Face detectors with five landmarks, by registry name."""

from __future__ import annotations

# Each registers itself.
from facedistill.align.detectors import centerface as _centerface  # noqa: F401
from facedistill.align.detectors import landmarks as _landmarks  # noqa: F401
from facedistill.align.detectors import mtcnn as _mtcnn  # noqa: F401
from facedistill.align.detectors import scrfd as _scrfd  # noqa: F401
from facedistill.align.detectors import yunet as _yunet  # noqa: F401
from facedistill.align.detectors.detector import DETECTORS, DetectorInfo, FaceDetector, Faces, Photo

__all__ = ["DETECTORS", "DetectorInfo", "FaceDetector", "Faces", "Photo"]
