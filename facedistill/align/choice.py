"""Which of a photo's faces is meant, and which are too small, too weak or too turned to be wanted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors.detector import Faces
from facedistill.align.landmark_check import landmark_problem
from facedistill.align.quality import face_size, yaw
from facedistill.align.table import MissedStatus
from facedistill.errors import UsageError, unknown_name

Choice = Literal["main", "largest", "central", "best", "all"]
"""main: large and near the middle; largest: by the box's area; central: nearest to the middle of the photo; best: the
detector's highest score; all: every face."""

CENTRE_WEIGHT = 2.0
"""Weight of the squared distance from the photo's centre against the face's area (the custom of FaceNet's aligner)."""


@dataclass(frozen=True)
class Limits:
    """What a face must have to be taken; None asks for nothing.

    Attributes:
        min_face: side in pixels of the square that is as large as the face's box.
        min_score: the detector's confidence, 0 to 1.
        max_yaw: degrees that the face may be turned to either side, as `quality.yaw` estimates it.
        min_sharpness: of the crop, see `quality.sharpness`; judged after the choice, as it takes a crop.

    Raises:
        UsageError: a limit that no face, or every face, would keep to.
    """

    min_face: float | None = None
    min_score: float | None = None
    max_yaw: float | None = None
    min_sharpness: float | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"the lowest score is {self.min_score}", next_step="Scores lie between 0 and 1")
        for name in ("min_face", "max_yaw", "min_sharpness"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} is {value}", next_step="Give a number above 0, or leave it out")

    def to_dict(self) -> dict[str, Any]:
        """The limits by name, JSON-ready."""
        return asdict(self)

    def objection(self, score: float, box: npt.NDArray[np.float32], landmarks: npt.NDArray[np.float32]) -> str | None:
        """Why a face is not wanted, or None."""
        if self.min_score is not None and score < self.min_score:
            return f"score {score:.2f} is below {self.min_score:g}"
        if self.min_face is not None and (size := face_size(box)) < self.min_face:
            return f"the face is {size:.0f} pixels large, below {self.min_face:g}"
        if self.max_yaw is not None and not abs(turned := yaw(landmarks)) <= self.max_yaw:
            return f"the face is turned by {turned:.0f} degrees, above {self.max_yaw:g}"
        return None


@dataclass(frozen=True)
class Refused:
    """A face that is not taken, and why."""

    status: MissedStatus
    reason: str


def check_choice(choice: str) -> None:
    """UsageError with the nearest name where there is no such choice."""
    if choice not in get_args(Choice):
        raise unknown_name("choice of face", choice, get_args(Choice))


def choose(
    faces: Faces, shape: tuple[int, ...], choice: Choice, limits: Limits
) -> tuple[list[int], dict[int, Refused]]:
    """The faces that are meant, and those that were refused before the choice.

    Args:
        faces: of one photo, any number.
        shape: (H, W, ...) of the photo.
        choice: see `Choice`.
        limits: faces that break them are set aside first, as are those whose landmarks cannot be a face's.

    Returns:
        Indices of the chosen faces (one, or none, or for "all" any number, best score first), and the refused ones.
    """
    refused = {}
    for index in range(len(faces)):
        landmarks = faces.landmarks[index]
        if (problem := landmark_problem(landmarks, shape)) is not None:
            refused[index] = Refused("bad landmarks", problem)
        elif (problem := limits.objection(float(faces.scores[index]), faces.boxes[index], landmarks)) is not None:
            refused[index] = Refused("filtered", problem)
    left = [index for index in range(len(faces)) if index not in refused]
    if choice == "all" or not left:
        return left, refused
    return [left[pick(faces[np.array(left)], shape, choice)]], refused


def pick(faces: Faces, shape: tuple[int, ...], choice: Choice = "main") -> int:
    """Index of the one face that is meant; there is at least one, and `choice` is not "all"."""
    areas = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    distances = ((middles - (shape[1] / 2, shape[0] / 2)) ** 2).sum(axis=1)
    merits = {
        "main": areas - CENTRE_WEIGHT * distances,
        "largest": areas,
        "central": -distances,
        "best": faces.scores,
    }
    return int(np.argmax(merits[choice]))
