"""A model and photos so simple that every figure of an evaluation can be told beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.evaluation.verification import VerificationResult, evaluate_embeddings
from facedistill.preprocessing import Preprocessing


class ColorEmbedder:
    """Embeds a crop as its mean colour less mid-grey: crops of one colour are one person."""

    name = "colours"
    fingerprint = "c" * 64
    embedding_size = 3

    def __init__(self, size: int = 8) -> None:
        self.preprocessing = Preprocessing(size=size)
        self.images = 0

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.images += len(images)
        return (self.preprocessing.resize(images).mean(axis=(1, 2)) - 127.5).astype(np.float32)


def encode(color: tuple[int, int, int], *, size: int = 8, suffix: str = ".png") -> bytes:
    """A picture of one RGB colour."""
    image = np.full((size, size, 3), color[::-1], dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


PEOPLE = {"Ann": (255, 100, 100), "Bo_B": (100, 255, 100), "Cy": (100, 100, 255), "Di": (255, 255, 0)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four people with four photos each, `Ann/Ann_0001.png` ..., every photo a shade of its person's colour."""
    folder = tmp_path / "photos"
    for person, color in PEOPLE.items():
        (folder / person).mkdir(parents=True)
        for number in range(1, 5):
            shade = (color[0], color[1], max(color[2] - number, 0))
            (folder / person / f"{person}_{number:04d}.png").write_bytes(encode(shade))
    return folder


Pairs = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]


def make_noisy_pairs(seed: int, *, people: int = 40, photos: int = 4, noise: float = 0.25, size: int = 16) -> Pairs:
    """Unit embeddings around a random centre for each person, and as many genuine as impostor pairs of them."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(people, size)), photos, axis=0)
    embeddings = centres + noise * np.sqrt(size) * rng.normal(size=centres.shape) / 2
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    index = np.arange(people * photos)
    genuine = np.stack([index, index - index % photos + (index + 1) % photos], axis=1)
    # Less than half way round, so that no pair comes again the other way round.
    away = photos * rng.integers(1, max(2, (people + 1) // 2), len(index))
    impostor = np.stack([index, (index + away) % len(index)], axis=1)
    return embeddings, np.concatenate([genuine, impostor]), np.repeat([True, False], len(index))


# Helpers are handed out as fixtures: the tests are no package, so that one file cannot import another.
@pytest.fixture
def color_embedder() -> type[ColorEmbedder]:
    return ColorEmbedder


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    return encode


@pytest.fixture
def noisy_pairs() -> Callable[..., Pairs]:
    return make_noisy_pairs


@pytest.fixture
def noisy_result() -> Callable[..., VerificationResult]:
    def evaluate(seed: int, **settings: float) -> VerificationResult:
        return evaluate_embeddings(*make_noisy_pairs(seed, **settings), name="made")

    return evaluate
