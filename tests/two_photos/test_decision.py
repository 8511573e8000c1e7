from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.errors import UsageError
from facedistill.preprocessing import Preprocessing
from facedistill.two_photos.decision import ChosenThreshold, Decision, choose_threshold, cosine_of_faces

SAVED = [
    {"far": 1e-2, "cosine": 0.25, "benchmark": "ours"},
    {"far": 1e-3, "cosine": 0.36, "benchmark": "ours"},
    {"far": 1e-3, "cosine": 0.41, "benchmark": "LFW"},
]


def test_a_given_threshold_wins() -> None:
    assert choose_threshold(0.5, SAVED, None) == ChosenThreshold(0.5, "given")


def test_the_strictest_that_is_saved() -> None:
    assert choose_threshold(None, SAVED, None) == ChosenThreshold(0.41, "FAR 1e-3 on LFW, saved in the model")
    assert choose_threshold(None, SAVED, 0.01) == ChosenThreshold(0.25, "FAR 1e-2 on ours, saved in the model")
    assert choose_threshold(None, [], None) is None


@pytest.mark.parametrize(
    ("given", "saved", "far", "message"),
    [
        (1.2, [], None, "a cosine lies between -1 and 1"),
        (None, [], 1e-3, "the model has no saved thresholds"),
        (None, SAVED, 1e-5, "no threshold is saved for a FAR of 1e-5. There are: 1e-3, 1e-2"),
    ],
)
def test_thresholds_that_are_none(
    given: float | None, saved: list[dict[str, Any]], far: float | None, message: str
) -> None:
    with pytest.raises(UsageError) as error:
        choose_threshold(given, saved, far)
    assert message in str(error.value)


def test_a_decision_in_words() -> None:
    threshold = ChosenThreshold(0.4, "given")
    assert Decision(0.41, threshold).sentence() == "the same person: cosine 0.410, threshold 0.400 (given)"
    assert Decision(0.4, threshold).sentence().startswith("two people")
    undecided = Decision(0.41, None)
    assert (undecided.same, undecided.sentence()) == (None, "cosine 0.410")
    assert undecided.to_dict() == {"same": None, "cosine": 0.41, "threshold": None, "threshold_origin": None}


def test_the_cosine_is_of_crop_and_mirror_image() -> None:
    class Left:
        """Sees the left edge only, so that the mirror image is another picture."""

        name, fingerprint, embedding_size, preprocessing = "left", "f" * 64, 3, Preprocessing(size=4)

        def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return images[:, 0, 0].astype(np.float32)

    one, other = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    one[:, 0], one[:, -1] = (3, 0, 0), (0, 4, 0)
    other[:, 0], other[:, -1] = (1, 0, 0), (0, 0, 1)
    # (3, 4, 0) and (1, 0, 1)
    assert cosine_of_faces(Left(), one, other) == pytest.approx(3 / (5 * np.sqrt(2)))
