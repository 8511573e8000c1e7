from __future__ import annotations

import numpy as np
import pytest

from facedistill.align.choice import Limits, check_choice, choose
from facedistill.align.detectors import Faces
from facedistill.align.template import template
from facedistill.errors import UsageError

Box = tuple[float, float, float, float]


def faces_of(boxes: list[Box]) -> Faces:
    """Faces as the template has them in these boxes, each score lower than the one before."""
    landmarks = [(x1, y1) + template() / 112 * (x2 - x1) for x1, y1, x2, y2 in boxes]
    scores = np.linspace(0.9, 0.8, len(boxes), dtype=np.float32)
    return Faces(np.array(boxes, np.float32), scores, np.array(landmarks, np.float32).reshape(-1, 5, 2))


# In a photo of 200 x 300 pixels (centre 150, 100); the figure of merit of "main" is area - 2 distance^2.
CASES = {
    "main: the larger of two equally far": ("main", [(110, 60, 150, 100), (140, 90, 190, 140)], 1),
    "main: the central one of two equally large": ("main", [(0, 0, 40, 40), (130, 80, 170, 120)], 1),
    "main: a small central one before a larger one at the rim": (
        "main", [(0, 50, 90, 140), (120, 70, 180, 130)], 1,  # -2925, 3600
    ),
    "main: a much larger one beside the centre": ("main", [(10, 10, 150, 150), (130, 80, 170, 120)], 0),  # 9900, 1600
    "largest": ("largest", [(120, 70, 180, 130), (0, 50, 90, 140)], 1),
    "central": ("central", [(10, 10, 150, 150), (130, 80, 170, 120)], 1),
    "best": ("best", [(0, 0, 30, 30), (130, 80, 170, 120)], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_of_several(case: str) -> None:
    choice, boxes, best = CASES[case]
    assert choose(faces_of(boxes), (200, 300, 3), choice, Limits()) == ([best], {})


def test_all() -> None:
    faces = faces_of([(0, 0, 30, 30), (130, 80, 170, 120), (5, 50, 60, 105)])
    assert choose(faces, (200, 300, 3), "all", Limits()) == ([0, 1, 2], {})
    assert choose(Faces.none(), (200, 300, 3), "all", Limits()) == ([], {})
    assert choose(Faces.none(), (200, 300, 3), "main", Limits()) == ([], {})


def test_limits_come_before_the_choice() -> None:
    faces = faces_of([(120, 70, 180, 130), (0, 50, 40, 90), (0, 0, 20, 20)])
    chosen, refused = choose(faces, (200, 300, 3), "best", Limits(min_face=30, min_score=0.84))
    assert chosen == [0]
    assert {index: (face.status, face.reason) for index, face in refused.items()} == {
        2: ("filtered", "score 0.80 is below 0.84")
    }
    chosen, refused = choose(faces, (200, 300, 3), "central", Limits(min_face=70))
    assert chosen == []
    assert [face.reason for face in refused.values()] == [
        "the face is 60 pixels large, below 70",
        "the face is 40 pixels large, below 70",
        "the face is 20 pixels large, below 70",
    ]


def test_a_turned_face() -> None:
    faces = faces_of([(0, 0, 112, 112), (0, 0, 112, 112)])
    faces.landmarks[0, 2, 0] += 20  # of 35 between the eyes
    chosen, refused = choose(faces, (112, 112, 3), "main", Limits(max_yaw=30))
    assert chosen == [1]
    assert refused[0].reason == "the face is turned by 46 degrees, above 30"


def test_impossible_landmarks() -> None:
    faces = faces_of([(0, 0, 112, 112), (20, 20, 60, 60)])
    faces.landmarks[0] = 7
    chosen, refused = choose(faces, (112, 112, 3), "largest", Limits())
    assert chosen == [1]
    assert (refused[0].status, refused[0].reason) == ("bad landmarks", "the landmarks coincide")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_score": 1.5}, "the lowest score is 1.5. Scores lie between 0 and 1"),
        ({"min_face": 0}, "min_face is 0"),
        ({"max_yaw": -3}, "max_yaw is -3"),
        ({"min_sharpness": float("nan")}, "min_sharpness is nan"),
    ],
)
def test_limits_that_cannot_be_meant(limits: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Limits(**limits)


def test_a_choice_that_is_not_there() -> None:
    check_choice("all")
    with pytest.raises(UsageError, match=r"there is no choice of face called 'larges'\. Did you mean 'largest'"):
        check_choice("larges")
