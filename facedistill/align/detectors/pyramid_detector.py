"""What SCRFD and YuNet share: a network with heads of three strides, from a file of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import Faces, Photo
from facedistill.align.detectors.pyramid_heads import PyramidHeads
from facedistill.align.detectors.single_shot import Candidates, SingleShot
from facedistill.align.detectors.smallest_face import check_min_face
from facedistill.files import file_sha256


@dataclass(frozen=True)
class PyramidTraits:
    """What tells one of these detectors from another.

    Attributes:
        title: its name in messages.
        wanted: names files that would do, for messages.
        scores: outputs of scores for each stride.
        threshold, lenient_threshold: lowest score of a face, and the same for a second look.
        overlap, face: see `SingleShot`.
        smallest: side in pixels of the smallest face that it sees.
    """

    title: str
    wanted: str
    scores: int
    threshold: float
    lenient_threshold: float
    overlap: float
    face: float
    smallest: int


class PyramidDetector(ABC):
    """A face detector by its traits and by how its outputs are read.

    Args:
        min_face: side in pixels of the smallest face to look for; None takes a tenth of the photo's shorter side, at
            least 20 pixels. It decides how far photos are shrunk.
        file: the ONNX file.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads that the network may use; 1 because the alignment runs several workers.

    Raises:
        UsageError: `min_face` is smaller than the detector sees, or no file is given.
        ModelFileError: the file cannot be loaded or is another network.
    """

    name: ClassVar[str]
    traits: ClassVar[PyramidTraits]
    looks_again = True

    def __init__(
        self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto", threads: int = 1
    ) -> None:
        traits = self.traits
        check_min_face(min_face, traits.smallest, traits.title)
        self.min_face = min_face
        self._heads = PyramidHeads(
            file, detector=traits.title, scores=traits.scores, wanted=traits.wanted, device=device, threads=threads
        )
        self._digest = None if file is None else file_sha256(file)
        self._shot = SingleShot(
            self._look, traits.face, traits.overlap, self._heads.device, self._heads.size, self._heads.batches
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Name, smallest face, threshold and the file's digest."""
        return {
            "name": self.name,
            "min_face": self.min_face,
            "threshold": self.traits.threshold,
            "weights_sha256": self._digest,
        }

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo; see `FaceDetector.detect`."""
        threshold = self.traits.lenient_threshold if lenient else self.traits.threshold
        return self._shot.detect(photos, threshold, min_face=self.min_face, lenient=lenient)

    @abstractmethod
    def _look(self, pictures: npt.NDArray[np.uint8], threshold: float) -> Candidates:
        """Run the network on (B, H, W, 3) uint8 RGB pictures and read what it says; see `single_shot.Look`."""
