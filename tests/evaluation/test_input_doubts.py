from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.evaluation import input_doubts as module
from facedistill.evaluation.input_doubts import (
    SwappedColors,
    alignment_warning,
    color_warning,
    input_doubts,
    sample_pairs,
    separation,
)
from facedistill.preprocessing import Preprocessing


class Reds:
    """Looks at red, a little at green, and not at blue."""

    name = "reds"
    fingerprint = "r" * 64
    embedding_size = 2
    preprocessing = Preprocessing(size=4)

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        mean = images.mean(axis=(1, 2))
        return np.stack([mean[:, 0] - 120, 20 + 0.1 * mean[:, 1]], axis=1).astype(np.float32)


class People:
    """120 images of 30 people, whom their red tells apart; blue is by chance."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        colors = random.integers(60, 180, (120, 3))
        colors[:, 0] = np.repeat(random.integers(60, 180, 30), 4)
        self.images = np.broadcast_to(colors[:, np.newaxis, np.newaxis], (120, 4, 4, 3)).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        return self.images[index]

    def encoded(self, index: int) -> bytes:
        return self.images[index].tobytes()

    def key(self, index: int) -> str:
        return str(index)


PAIRS = np.array([(i, i + 1) for i in range(0, 120, 2)] + [(i, (i + 7) % 120) for i in range(0, 120, 2)])
SAME = PAIRS[:, 0] // 4 == PAIRS[:, 1] // 4


def test_the_order_that_a_model_was_trained_with_is_not_doubted() -> None:
    assert color_warning(Reds(), People(), PAIRS, SAME) == []


def test_the_other_order_is_seen() -> None:
    (warning,) = color_warning(SwappedColors(Reds()), People(), PAIRS, SAME)
    assert warning.startswith(
        "the colour order rgb was assumed, and on 120 pairs bgr parts the people better (separation "
    )
    assert warning.endswith("give --color bgr if the model was trained so")


def test_all_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "alignment_warning", lambda images, indices: [f"{len(indices)} crops"])
    model = SwappedColors(Reds())
    assert input_doubts(model, People(), PAIRS, SAME) == ("120 crops",)
    object.__setattr__(model, "color_assumed", True)
    assert len(input_doubts(model, People(), PAIRS, SAME)) == 2


def test_pairs_of_a_labelled_set() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(90), [1, 2, 30] * 30))
    pairs, same = sample_pairs(labels)
    assert np.array_equal(labels[pairs[:, 0]] == labels[pairs[:, 1]], same)
    assert (np.count_nonzero(same), np.count_nonzero(~same)) == (100, 100)
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_a_model_that_sees_no_colours_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grey(Reds):
        def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            mean = images.mean(axis=(1, 2, 3))
            return np.stack([mean - 120, 20 + 0.1 * mean], axis=1).astype(np.float32)

    assert color_warning(Grey(), People(), PAIRS, SAME) == []


def test_separation_by_hand() -> None:
    distances = np.array([1.0, 3.0, 5.0, 9.0])
    same = np.array([True, True, False, False])
    assert separation(distances, same) == pytest.approx((7 - 2) / np.sqrt((1 + 4) / 2))
    assert separation(np.ones(4), same) == 0.0


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("not aligned", "the crops are not aligned: in 50 of 60 of them, eyes, nose and mouth are scattered away from"),
        (
            "aligned, but to something else",
            "something else: in 50 of 60 of them, eyes, nose and mouth are all 3.2 pixels",
        ),
        ("aligned to the ArcFace template", None),
        ("not known", None),
    ],
)
def test_what_is_said_of_the_alignment(verdict: str, words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: Any, sample: int, **__: Any) -> Any:
        return SimpleNamespace(verdict=verdict, seen=50, sampled=sample, offset=3.24)

    monkeypatch.setattr(module, "check_alignment", check)
    found = alignment_warning(People())
    assert (words is None) == (found == [])
    assert words is None or words in found[0]


@pytest.mark.realdata
def test_photos_are_told_from_crops(realdata: Path, tmp_path: Path) -> None:
    """LFW's photos are roughly centred; the same ones aligned are not doubted."""
    from facedistill.align.detectors import DETECTORS
    from facedistill.align.pipeline import align_folder
    from facedistill.data.folder import FolderDataset

    people = sorted((realdata / "data" / "lfw" / "raw").iterdir())[:60]
    for person in people:
        (tmp_path / "photos" / person.name).mkdir(parents=True)
        photo = sorted(person.iterdir())[0]
        (tmp_path / "photos" / person.name / photo.name).write_bytes(photo.read_bytes())
    align_folder(tmp_path / "photos", tmp_path / "crops", detector=DETECTORS["mtcnn"]())
    (warning,) = alignment_warning(FolderDataset(tmp_path / "photos"))
    assert "not aligned" in warning
    assert alignment_warning(FolderDataset(tmp_path / "crops")) == []
