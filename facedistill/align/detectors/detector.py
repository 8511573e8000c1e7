"""What a face detector is to the rest of the package: batches of photos in, faces with five landmarks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from facedistill.errors import DataError
from facedistill.registry import Registry


@dataclass(frozen=True)
class Photo:
    """One decoded photo.

    Attributes:
        name: its path within the folder of photos, with forward slashes.
        image: (H, W, 3) uint8 RGB of any size.

    Raises:
        DataError: the array is no RGB image.
    """

    name: str
    image: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape, dtype = self.image.shape, self.image.dtype
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
            raise DataError(f"a photo is a (H, W, 3) uint8 array, this one is {shape} {dtype}", place=self.name)


@dataclass(frozen=True)
class Faces:
    """The F faces that were found in one photo, best score first; F may be 0.

    Attributes:
        boxes: (F, 4) float32, x1, y1, x2, y2 in pixels; they may reach outside the photo.
        scores: (F,) float32, the detector's own confidence, 0 to 1.
        landmarks: (F, 5, 2) float32, x and y in pixels (the middle of the upper left pixel is 0, 0), in the order left
            eye, right eye, nose, left and right corner of the mouth; left is the image's left.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: npt.NDArray[Any]) -> Faces:
        """The faces that an index array or a mask picks."""
        return Faces(self.boxes[which], self.scores[which], self.landmarks[which])

    @classmethod
    def none(cls) -> Faces:
        """No face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


@dataclass(frozen=True)
class DetectorInfo:
    """What `facedistill detectors` says of a detector beside its summary and source.

    Attributes:
        weights: size of the weights and where they come from.
        licence: the licence of the weights, which may differ from that of the code.
        missing: why it cannot run here as it stands and what to do, or None where it can; called when asked.
    """

    weights: str
    licence: str
    missing: Callable[[], str | None]


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces and their five landmarks; the alignment knows nothing else of it.

    One detector is called from several threads at once. What it finds in a photo may depend in the last bits on the
    photos beside it (networks run on batches), and on nothing else.
    """

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, its name among it; JSON-ready, kept in the report of an alignment."""
        ...

    @property
    def looks_again(self) -> bool:
        """Whether a changed photo (padded, enlarged) may show it a face where the photo as it is showed none."""
        ...

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        """The faces of each photo, in the photos' order.

        Args:
            photos: any number of any sizes; a caller keeps their number such that they fit in memory.
            lenient: accept weaker and smaller faces; asked for where a first look found none.
        """
        ...


class DetectorFactory(Protocol):
    """Makes a detector: a class with its `info` beside it."""

    @property
    def info(self) -> DetectorInfo:
        """What there is to say of it."""
        ...

    def __call__(self, *, min_face: int | None = None, file: Path | None = None, device: str = "auto") -> FaceDetector:
        """Make it.

        Args:
            min_face: side in pixels of the smallest face to look for; None for the detector's own choice.
            file: the weights, or the landmarks, where they do not come with a package.
            device: "auto", "cpu" or "cuda"; whatever runs on the CPU alone takes "auto" and "cpu".

        Raises:
            UsageError: an option makes no sense for this detector, or a file is needed and not given.
            ModelFileError: its weights are missing, damaged or something else.
        """
        ...


DETECTORS: Registry[DetectorFactory] = Registry("detector")
