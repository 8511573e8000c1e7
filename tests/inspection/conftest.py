"""Folders of made-up faces in which something is wrong on purpose, and a detector that needs no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.align.detectors import Faces, Photo
from facedistill.data.images import read_image, write_image

Image = npt.NDArray[np.uint8]


class ShareDetector:
    """Sees a face whose landmarks lie at given shares of the image that is drawn, found by its white corners."""

    name = "shares"
    looks_again = True

    def __init__(self, landmarks: dict[str, npt.NDArray[np.float64] | None]) -> None:
        """`landmarks`: by the photo's name, in pixels of the image before it is padded and scaled; None for no face."""
        self.landmarks = landmarks
        self.settings = {"name": self.name}
        self.asked: list[tuple[int, bool]] = []

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        self.asked.append((len(photos), lenient))
        found = []
        for photo in photos:
            points = self.landmarks[photo.name]
            if points is None:
                found.append(Faces.none())
                continue
            # Square images of at most 500 pixels, padded by half their side on each side.
            side = photo.image.shape[0] / 2
            points = (np.asarray(points) + side / 2).astype(np.float32)
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            found.append(Faces(box[None], np.ones(1, np.float32), points[None]))
        return found


@pytest.fixture
def share_detector() -> Callable[..., ShareDetector]:
    return ShareDetector


@pytest.fixture
def crops(faces: Path, tmp_path: Path) -> Path:
    """A copy of the made-up crops that a test may change."""
    return Path(shutil.copytree(faces, tmp_path / "crops"))


@pytest.fixture
def first_crop(crops: Path) -> Image:
    return read_image(sorted(crops.rglob("*.png"))[0])


@pytest.fixture
def plant(crops: Path) -> Callable[[str, Image], None]:
    """Write an image into the copied folder."""

    def write(name: str, image: Image) -> None:
        write_image(crops / name, np.ascontiguousarray(image))

    return write
