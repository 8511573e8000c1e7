"""The verification script of insightface, step by step, beside ours on the same random embeddings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from facedistill.data.verification_bin import write_bin
from facedistill.evaluation.benchmark import load_bin_benchmark
from facedistill.evaluation.verification import evaluate_verification
from facedistill.preprocessing import Preprocessing

PAIRS = 130


class RandomEmbedder:
    """Has drawn an embedding for each image, told by its first pixel, and another for the mirror image."""

    name = "random"
    fingerprint = "f" * 64
    embedding_size = 32
    preprocessing = Preprocessing(size=8)

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        people = np.repeat(random.normal(size=(PAIRS, 32)), 2, axis=0)
        people[1::4] = random.normal(size=people[1::4].shape)  # the second image of every other pair is somebody else
        self.original, self.mirrored = (
            (9 * (people + 1.5 * random.normal(size=people.shape))).astype(np.float32) for _ in range(2)
        )

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        first, last = images[:, 0, 0].astype(np.int64), images[:, 0, -1].astype(np.int64)
        rows = [
            self.original[a[0] + 256 * a[1]] if a[2] == 0 else self.mirrored[b[0] + 256 * b[1]]
            for a, b in zip(first, last, strict=True)
        ]
        return np.stack(rows)


def picture(index: int) -> bytes:
    """Its number in the colour of its left edge; the right edge has blue as well, which tells the mirror image."""
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, :] = (index % 256, index // 256, 0)
    image[:, -1, 2] = 255
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_accuracies_and_thresholds_are_equal_to_the_last_digit(seed: int, tmp_path: Path) -> None:
    embedder = RandomEmbedder(seed)
    issame = np.arange(PAIRS) % 2 == 1
    write_bin(tmp_path / "made.bin", [picture(index) for index in range(2 * PAIRS)], issame.tolist())

    embeddings = normalize(embedder.original + embedder.mirrored)
    diff = embeddings[0::2] - embeddings[1::2]
    dist = np.sum(np.square(diff), 1)
    thresholds = np.arange(0, 4, 0.01)
    accuracies, chosen = [], []
    for train, test in KFold(n_splits=10, shuffle=False).split(np.arange(PAIRS)):
        acc_train = [np.mean(np.less(dist[train], threshold) == issame[train]) for threshold in thresholds]
        best = int(np.argmax(acc_train))
        chosen.append(thresholds[best])
        accuracies.append(np.mean(np.less(dist[test], thresholds[best]) == issame[test]))

    result = evaluate_verification(embedder, load_bin_benchmark(tmp_path / "made.bin"))
    assert list(result.folds.accuracies) == accuracies
    assert list(result.folds.thresholds) == pytest.approx(chosen, abs=1e-12)
    assert (result.accuracy, result.accuracy_std) == (np.mean(accuracies), np.std(accuracies))
    assert 0.6 < result.accuracy < 0.99, "the figures could not tell a fault"
