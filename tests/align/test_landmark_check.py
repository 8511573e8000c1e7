from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.align.landmark_check import landmark_problem
from facedistill.align.template import template

SHAPE = (112, 112, 3)
MIRRORED = [1, 0, 2, 4, 3]


def turned(points: np.ndarray, degrees: float, scale: float = 1.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - 56) @ turn.T + 56


PROBLEMS = {
    "the landmarks are not finite numbers": np.where(np.arange(10).reshape(5, 2) == 3, np.nan, template()),
    "the landmarks coincide": np.full((5, 2), 40.0),
    "the landmarks lie on one line": np.stack([np.arange(5) * 9.0, np.arange(5) * 4.0 + 3], axis=1),
    "the landmarks lie outside the photo": template() + np.array([0, 200]),
    "a landmark lies far outside the photo": np.concatenate([template()[:4] * 0.4, [(180.0, 40.0)]]),
    "the landmarks are mirrored: left and right are exchanged": template()[MIRRORED],
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems(problem: str) -> None:
    assert landmark_problem(PROBLEMS[problem], SHAPE) == problem


@given(st.floats(-180, 180), st.floats(0.1, 1.0), st.integers(0, 2**32 - 1))
def test_a_face_in_any_position_has_none(degrees: float, scale: float, seed: int) -> None:
    noisy = template() + np.random.default_rng(seed).normal(0, 2, (5, 2))
    assert landmark_problem(turned(noisy, degrees, scale), SHAPE) is None


@given(st.floats(-180, 180))
def test_mirrored_in_any_position(degrees: float) -> None:
    assert landmark_problem(turned(template()[MIRRORED], degrees), SHAPE) is not None


def test_a_profile_and_a_face_across_the_edge_have_none() -> None:
    profile = np.array([(50, 40), (51, 40), (62, 52), (52, 66), (51, 67)], dtype=float)
    assert landmark_problem(profile, SHAPE) is None
    assert landmark_problem(template() - np.array([45, 0]), SHAPE) is None
