"""What the detectors of a single network share: the pictures a network is shown, and the way back to the photo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import Faces, Photo
from facedistill.align.detectors.smallest_face import smallest_face
from facedistill.align.detectors.suppression import best_of_each, suppress

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.intp]

STRIDE = 32
"""Sides of a picture are multiples of this, the coarsest step of all these networks."""

# Pixels of a picture that may have any size. A photo of more is shrunk, whatever the smallest face: the widest layer
# of CenterFace holds a hundred bytes for each pixel.
_MOST_PIXELS = 4_000_000
# What goes through a network at once. On a CPU more than this is no faster; a GPU wants more.
_PIXELS_AT_ONCE = {"cpu": 300_000, "cuda": 16_000_000}
# Faces of one photo that go on, the best first: their overlaps are a table of the square of their number.
_MOST_FACES = 1000


@dataclass(frozen=True)
class Candidates:
    """N faces that a network sees in a batch of pictures, many of them the same face.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels of the picture, from the outer corner of its upper left pixel.
        scores: (N,) float32, 0 to 1.
        landmarks: (N, 5, 2) float32 x and y, measured as the boxes are.
        pictures: (N,) which picture of the batch.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats
    pictures: Indices


Look = Callable[[Image, float], Candidates]
"""Runs a network: (B, H, W, 3) uint8 RGB pictures and the lowest score that counts -> what it sees."""


@dataclass(frozen=True)
class SingleShot:
    """Shows photos of any sizes to a network, photos of one size together.

    A photo is shrunk, never enlarged, and stands in the upper left of its picture; the rest is black. Padding and not
    stretching: on 150 photos of LFW, CenterFace's landmarks of a photo and of its mirror image differ by 1.4 pixels
    padded from 250 to 256 and by 1.6 stretched.

    Attributes:
        look: the network.
        face: side in pixels that the smallest face is given in a picture, where the photo has as many.
        overlap: share of their union by which two boxes of one face overlap at least.
        device: "cpu" or "cuda", where the network runs.
        size: height and width of the pictures where the network takes no others.
        batches: whether the network takes several pictures at once.
    """

    look: Look
    face: float
    overlap: float
    device: str
    size: tuple[int, int] | None = None
    batches: bool = True

    def detect(self, photos: Sequence[Photo], threshold: float, *, min_face: int | None, lenient: bool) -> list[Faces]:
        """The faces of each photo, in the photos' order.

        Args:
            photos: any number of any sizes.
            threshold: lowest score of a face.
            min_face: see `smallest_face`.
            lenient: see `smallest_face`.
        """
        smallest = [smallest_face(photo.image, min_face, lenient=lenient) for photo in photos]
        images = [photo.image for photo in photos]
        sizes = [self._shrunk(image, side) for image, side in zip(images, smallest, strict=True)]
        # A size in the picture -> pixels of the photo.
        factors = np.array(
            [(image.shape[1] / size[1], image.shape[0] / size[0]) for image, size in zip(images, sizes, strict=True)],
            dtype=np.float32,
        ).reshape(-1, 2)
        found = _joined([self._look(images, sizes, some, threshold) for some in self._together(sizes)])
        boxes = found.boxes * np.tile(factors, 2)[found.pictures]
        # From the corner of the photo's first pixel to its middle.
        landmarks = found.landmarks * factors[found.pictures][:, None] - np.float32(0.5)
        few = np.flatnonzero(np.isfinite(boxes).all(axis=1) & np.isfinite(landmarks).all(axis=(1, 2)))
        few = few[best_of_each(found.scores[few], found.pictures[few], _MOST_FACES)]
        kept = few[suppress(boxes[few], found.scores[few], self.overlap, groups=found.pictures[few])]
        owners = found.pictures[kept]
        faces = Faces(boxes[kept], found.scores[kept], landmarks[kept])
        return [faces[owners == index] for index in range(len(photos))]

    def _shrunk(self, image: Image, smallest: float) -> tuple[int, int]:
        """Height and width of the photo in its picture."""
        height, width = image.shape[:2]
        scale = min(1.0, self.face / smallest)
        if self.size is None:
            scale = min(scale, (_MOST_PIXELS / (height * width)) ** 0.5)
        else:
            scale = min(scale, self.size[0] / height, self.size[1] / width)
        return max(round(height * scale), 1), max(round(width * scale), 1)

    def _together(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """The photos whose pictures have one size, no more of them than a network takes at once."""
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            alike[self._picture(size)].append(index)
        for (height, width), members in alike.items():
            at_once = max(_PIXELS_AT_ONCE[self.device] // (height * width), 1) if self.batches else 1
            for first in range(0, len(members), at_once):
                yield members[first : first + at_once]

    def _picture(self, size: tuple[int, int]) -> tuple[int, int]:
        return self.size or (-(-size[0] // STRIDE) * STRIDE, -(-size[1] // STRIDE) * STRIDE)

    def _look(
        self, images: Sequence[Image], sizes: Sequence[tuple[int, int]], some: list[int], threshold: float
    ) -> Candidates:
        pictures = np.zeros((len(some), *self._picture(sizes[some[0]]), 3), dtype=np.uint8)
        for index, picture in zip(some, pictures, strict=True):
            height, width = sizes[index]
            image = images[index]
            if image.shape[:2] != (height, width):
                image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            picture[:height, :width] = image
        found = self.look(pictures, threshold)
        return Candidates(found.boxes, found.scores, found.landmarks, np.asarray(some, np.intp)[found.pictures])


def _joined(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
        np.concatenate([np.zeros((0, 5, 2), np.float32), *(part.landmarks for part in parts)]),
        np.concatenate([np.zeros(0, np.intp), *(part.pictures for part in parts)]),
    )
