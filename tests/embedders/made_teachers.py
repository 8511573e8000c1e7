"""A data set of noise and a teacher that costs nothing, for the tests of caches and ensembles."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facedistill.data.images import decode_image, encode_image
from facedistill.errors import DataError
from facedistill.preprocessing import Preprocessing


class Noise:
    """Images of noise in memory, of four people; those named in `corrupt` are no images."""

    def __init__(
        self, count: int = 23, *, seed: int = 0, corrupt: tuple[int, ...] = (), fingerprint: str = "d" * 64
    ) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        self.stored = [encode_image(image, ".png") for image in pixels]
        for index in corrupt:
            self.stored[index] = b"no image"
        self.labels: npt.NDArray[np.int64] = np.arange(count) % 4
        self.identities = ["a", "b", "c", "d"]
        self.fingerprint = fingerprint
        self.read = [0] * count

    def __len__(self) -> int:
        return len(self.stored)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        return decode_image(self.encoded(index), place=self.key(index))

    def encoded(self, index: int) -> bytes:
        self.read[index] += 1
        if self.stored[index] == b"":
            raise DataError("the image cannot be read", place=self.key(index))
        return self.stored[index]

    def key(self, index: int) -> str:
        return f"person/{index}.png"


class Projection:
    """Embeds a crop by a random projection of its pixels; whatever the batch, an image's embedding is the same."""

    def __init__(self, size: int = 8, dimensions: int = 16, *, seed: int = 0, color: str = "rgb") -> None:
        self.name = f"projection-{seed}"
        self.fingerprint = f"{seed:02d}" * 32
        self.preprocessing = Preprocessing(size=size, color=color)  # type: ignore[arg-type]
        self.embedding_size = dimensions
        self.weights = np.random.default_rng(seed).normal(size=(size * size * 3, dimensions)).astype(np.float32)
        self.shapes: list[tuple[int, ...]] = []

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.shapes.append(images.shape)
        inputs = self.preprocessing.to_numpy(images).reshape(len(images), -1)
        # One by one: a product of matrices rounds otherwise for another number of rows.
        return np.stack([row @ self.weights for row in inputs])


def resized(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
