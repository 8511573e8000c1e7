"""Points on the head in face units, the pose that turns them, and where the landmarks lie."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import lru_cache

import numpy as np

from facedistill.data.made_up.identity import FaceIdentity
from facedistill.data.made_up.nuisance import Nuisance
from facedistill.data.made_up.values import Matrix

OUTLINE_DEPTH = -1.2
"""Skull and hair outlines lie this far behind the eyes, so a turn moves the face inside the outline."""

# The point about which the head turns: inside the skull, below the eyes.
_NECK_JOINT = np.array([0.0, 0.9, -2.6])


def head_points(*xy: Sequence[float], z: float | None = None, lift: float = 0.0) -> Matrix:
    """(N, 3) points on the smooth front of the head, lifted off it, or all at one depth z."""
    points = np.empty((len(xy), 3))
    points[:, :2] = xy
    if z is None:
        x, y = points[:, 0], points[:, 1]
        points[:, 2] = np.maximum(-0.17 * x * x - 0.05 * (y - 0.8) ** 2, OUTLINE_DEPTH) + lift
    else:
        points[:, 2] = z
    return points


def mirrored(*half: tuple[float, float]) -> list[tuple[float, float]]:
    """The right half of an outline, from top to bottom, made whole."""
    return [*half, *((-x, y) for x, y in reversed(half) if x != 0)]


def mouth_corners(identity: FaceIdentity, nuisance: Nuisance) -> tuple[tuple[float, float], tuple[float, float]]:
    """The left and the right corner, each x, y in face units: a smile moves them apart and up."""
    half = identity.mouth_width * (1 + 0.17 * nuisance.smile - 0.12 * nuisance.mouth_open)
    y = identity.mouth_height - 0.14 * nuisance.smile + 0.3 * nuisance.mouth_open
    return (-half, y + identity.mouth_slant), (half, y - identity.mouth_slant)


def landmark_points(identity: FaceIdentity, nuisance: Nuisance) -> Matrix:
    """(5, 3) head points of the landmarks; the eyes' are the centres of the openings, wherever the gaze goes."""
    eyes = head_points((-identity.eye_distance, 0.0), (identity.eye_distance, 0.0))
    nose = head_points((identity.nose_bend, identity.nose_length), z=identity.nose_projection)
    return np.concatenate([eyes, nose, head_points(*mouth_corners(identity, nuisance))])


@lru_cache(maxsize=64)
def spline(controls: int, closed: bool, steps: int = 5) -> Matrix:
    """Matrix (points, controls) that turns control points into a Catmull-Rom curve through them."""
    spans = controls if closed else controls - 1
    t = np.arange(steps) / steps
    taps = 0.5 * np.array([-(t**3) + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2])
    basis = np.zeros((spans * steps + (not closed), controls))
    for span in range(spans):
        for offset, weights in zip((-1, 0, 1, 2), taps, strict=True):
            control = (span + offset) % controls if closed else min(max(span + offset, 0), controls - 1)
            basis[span * steps : (span + 1) * steps, control] += weights
    if not closed:
        basis[-1, -1] = 1.0
    return basis


def similarity(scale: float, degrees: float, *, fixed: tuple[float, float], to: Matrix) -> Matrix:
    """(2, 3) matrix that scales, rotates and carries the point `fixed` to the point `to`."""
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, to - linear @ fixed])


class View:
    """Turns head points by the pose and projects them with perspective onto the face plane."""

    def __init__(self, nuisance: Nuisance) -> None:
        yaw, pitch = np.radians(nuisance.yaw), np.radians(nuisance.pitch)
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        rotation = nod @ turn
        # Homogeneous coordinates: the third one is what perspective divides by, 1 - z / distance.
        perspective = np.diag([1.0, 1.0, -1.0 / nuisance.camera_distance])
        self._linear: Matrix = (perspective @ rotation).T
        self._shift: Matrix = perspective @ (_NECK_JOINT - rotation @ _NECK_JOINT) + (0.0, 0.0, 1.0)

    def project(self, points: Matrix) -> Matrix:
        """(N, 3) head points -> (N, 2) on the face plane."""
        turned = points @ self._linear + self._shift
        return np.asarray(turned[:, :2] / turned[:, 2:])

    def magnified(self, origin: Matrix, scale: float) -> View:
        """The same view onto a plane with another origin and scale, such as the pixels of a frame."""
        window = np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0], [-scale * origin[0], -scale * origin[1], 1.0]])
        view = copy(self)
        view._linear, view._shift = self._linear @ window, self._shift @ window
        return view
