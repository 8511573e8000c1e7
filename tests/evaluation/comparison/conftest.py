"""Results of models on one made list, and the photos behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facedistill.errors import DataError
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.verification import VerificationResult, evaluate_embeddings

Made = Callable[..., VerificationResult]


class Photos:
    """Images of one grey each; those of `broken` cannot be decoded."""

    def __init__(self, count: int, broken: Sequence[int] = ()) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        if index in self.broken:
            raise DataError("the image is corrupt", place=self.key(index))
        return np.full((20, 16, 3), 40 + index % 200, dtype=np.uint8)

    def encoded(self, index: int) -> bytes:
        return cv2.imencode(".png", self.image(index))[1].tobytes()

    def key(self, index: int) -> str:
        return f"person_{index // 4}/{index}.png"


@pytest.fixture
def photos_of() -> type[Photos]:
    return Photos


def make_list(seed: int, pairs: int = 60) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """People of four photos; as many genuine as impostor pairs, in 6 folds that know nothing of the people."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 4 * 10, size=pairs)
    same = np.arange(pairs) % 2 == 0
    second = np.where(same, first // 4 * 4 + (first + 1) % 4, (first + 4 * rng.integers(1, 10, size=pairs)) % 40)
    return np.stack([first, second], axis=1), same, np.arange(pairs) // 2 % 6


@pytest.fixture
def made() -> Made:
    """The result of a model that tells people apart with so much noise; the list depends on `listed` alone."""

    def make(seed: int, noise: float = 1.0, *, listed: int = 0, size: int = 8) -> VerificationResult:
        pairs, same, folds = make_list(listed)
        rng = np.random.default_rng(seed)
        embeddings = np.repeat(rng.normal(size=(10, size)), 4, axis=0) + noise * rng.normal(size=(40, size))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        result = evaluate_embeddings(
            embeddings, pairs, same, folds, name="made", fars=(0.3, 0.1, 1e-3), source_sha256=str(listed) * 64
        )
        assert isinstance(result.judged, JudgedPairs)
        return replace(result, judged=replace(result.judged, images=Photos(40)))

    return make
