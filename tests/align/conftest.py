"""A made photo with five dots for landmarks, and a detector that finds them: the road can be checked to the pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.align.detectors import Faces, Photo
from facedistill.align.template import template
from facedistill.data.images import write_image

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

# Red: the eyes. Green: the nose. Blue: the corners of the mouth.
CHANNELS = (0, 0, 1, 2, 2)


def draw_dots(points: npt.ArrayLike, size: tuple[int, int], radius: float = 3.0) -> Image:
    """(H, W, 3) uint8: a round soft dot at each of the five (x, y), on black."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.zeros((*size, 3))
    for (x, y), channel in zip(np.asarray(points, dtype=float), CHANNELS, strict=True):
        image[..., channel] += 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return image.clip(0, 255).round().astype(np.uint8)


def find_dots(image: Image) -> Points | None:
    """The middles (x, y) of the five dots in the landmarks' order, or None where a dot is missing."""
    found = []
    for channel, dots in ((0, 2), (1, 1), (2, 2)):
        weights = image[..., channel].astype(float)
        weights[weights < 40] = 0
        lit = np.flatnonzero(weights.sum(axis=0))
        if not len(lit):
            return None
        middle = (lit[0] + lit[-1]) / 2
        sides = (slice(0, int(middle) + 1), slice(int(middle) + 1, None)) if dots == 2 else (slice(None),)
        for side in sides:
            part = np.zeros_like(weights)
            part[:, side] = weights[:, side]
            if not part.any():
                return None
            rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
            found.append(((part * columns).sum() / part.sum(), (part * rows).sum() / part.sum()))
    return np.array(found)


class DotDetector:
    """Finds the drawn dots; a photo without them shows it no face."""

    name = "dots"
    looks_again = True

    def __init__(self) -> None:
        self.settings = {"name": self.name}

    def detect(self, photos: Sequence[Photo], *, lenient: bool = False) -> list[Faces]:
        return [self.look(photo.image) for photo in photos]

    def look(self, image: Image) -> Faces:
        points = find_dots(image)
        if points is None:
            return Faces.none()
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        return Faces(box[None].astype(np.float32), np.array([0.9], np.float32), points[None].astype(np.float32))


class TellingDetector(DotDetector):
    """Says of every photo what it was told to say, and looks once."""

    name = "telling"
    looks_again = False

    def __init__(self, faces: Faces) -> None:
        super().__init__()
        self.faces = faces

    def look(self, image: Image) -> Faces:
        return self.faces


@pytest.fixture(name="draw_dots")
def _draw_dots() -> Callable[..., Image]:
    return draw_dots


@pytest.fixture(name="find_dots")
def _find_dots() -> Callable[[Image], Points | None]:
    return find_dots


@pytest.fixture
def dot_detector() -> DotDetector:
    return DotDetector()


@pytest.fixture
def telling() -> Callable[[Faces], TellingDetector]:
    return TellingDetector


@pytest.fixture
def make_photos(tmp_path: Path) -> Callable[..., Path]:
    """Write a photo of dots for each name, a face of the template's shape somewhere in it; returns their folder."""

    def make(*names: str, folder: str = "photos") -> Path:
        rng = np.random.default_rng(5)
        for name in names:
            angle, side = rng.uniform(-0.4, 0.4), rng.uniform(0.8, 1.4)
            turn = side * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            points = (template() - 56) @ turn.T + rng.uniform(80, 110, 2)
            write_image(tmp_path / folder / name, draw_dots(points, (180, 200)))
        return tmp_path / folder

    return make
