from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from facedistill.errors import DataError
from facedistill.evaluation.identification import template_pairs as module
from facedistill.evaluation.identification.template_pairs import FARS, score_pairs, template_pair_figures
from facedistill.evaluation.identification.templates import Templates
from facedistill.evaluation.metrics import tar_at_far


def published_tar(same: Any, scores: Any, far: float) -> tuple[float, float]:
    """As insightface reads it: the ROC backwards, the first of the points whose FAR is nearest."""
    fpr, tpr, _ = roc_curve(same.astype(int), scores)
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    nearest = min(range(len(fpr)), key=lambda place: (abs(fpr[place] - far), place))
    return tpr[nearest], fpr[nearest]


def made(seed: int, decimals: int | None, genuine: int = 300, impostor: int = 5000) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0.4, 0.2, genuine), rng.normal(0, 0.15, impostor)])
    order = rng.permutation(genuine + impostor)
    same = np.repeat([True, False], [genuine, impostor])[order]
    scores = scores[order]
    return (scores if decimals is None else np.round(scores, decimals)), same


@pytest.mark.parametrize("decimals", [None, 3, 2, 1])
@pytest.mark.parametrize("seed", range(5))
def test_nearest_is_what_the_published_script_reads(seed: int, decimals: int | None) -> None:
    """With distinct scores, and with so many ties that a step of the ROC passes several FARs."""
    scores, same = made(seed, decimals)
    figures = template_pair_figures(scores, same, name="made")
    assert list(figures.nearest) == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
    for far, point in zip(FARS, figures.nearest.values(), strict=True):
        assert (point.tar, point.far) == published_tar(same, scores, far)


@pytest.mark.parametrize("decimals", [None, 3, 2, 1])
def test_the_other_figure_is_that_of_tar_at_far(decimals: int | None) -> None:
    scores, same = made(7, decimals)
    figures = template_pair_figures(scores, same, name="made")
    for far, point in zip(FARS, figures.operating_points.values(), strict=True):
        expected = tar_at_far(2 - 2 * scores, same, far)
        assert (point is None) == (expected is None)
        if point is not None and expected is not None:
            assert (point.tar, point.far) == (expected.tar, expected.far)
            assert point.threshold == pytest.approx(expected.threshold, abs=1e-12)
    assert figures.unresolvable == {"1e-6": "needs 1,000,000 impostor pairs", "1e-5": "needs 100,000 impostor pairs",
                                    "1e-4": "needs 10,000 impostor pairs"}  # fmt: skip


def test_the_two_readings_differ_by_hand() -> None:
    """Three of ten impostors are above the last genuine pair: FAR 0.25 lets two in, 0.3 is nearer than 0.2 to 0.26."""
    scores = np.array([0.9, 0.5, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1, 0.0, -0.1, -0.2])
    same = np.array([True, True] + [False] * 10)
    figures = template_pair_figures(scores, same, name="made", fars=(0.26,))
    exact, nearest = figures.operating_points["2.6e-1"], figures.nearest["2.6e-1"]
    assert exact is not None
    assert (exact.tar, exact.far, exact.threshold) == (0.5, 0.2, pytest.approx(2 - 2 * 0.6))
    assert (nearest.tar, nearest.far) == (1.0, 0.3)
    assert figures.table() == (
        ["1:1", "genuine", "impostor", "read at", "TAR at 2.6e-1"],
        [["made", "2", "10", "FAR kept", "50.00"], ["made", "2", "10", "nearest FAR", "100.00"]],
    )
    assert figures.to_dict()["nearest"] == {"2.6e-1": {"tar": 1.0, "far": 0.3}}


@pytest.mark.parametrize(
    ("scores", "exact", "nearest"),
    [
        (np.repeat([1.0, 0.0], 20), (1.0, 0.0), (1.0, 0.1)),  # perfect
        (np.repeat([0.0, 1.0], 20), (0.0, 0.0), (0.0, 0.0)),  # inverted
        (np.zeros(40), (0.0, 0.0), (0.0, 0.0)),  # all alike
    ],
)
def test_extreme_models(scores: Any, exact: tuple[float, float], nearest: tuple[float, float]) -> None:
    same = np.repeat([True, False], 20)
    figures = template_pair_figures(scores, same, name="made", fars=(0.1,))
    point = figures.operating_points["1e-1"]
    assert point is not None
    assert (point.tar, point.far) == exact
    assert (figures.nearest["1e-1"].tar, figures.nearest["1e-1"].far) == published_tar(same, scores, 0.1)
    assert figures.nearest["1e-1"].tar == nearest[0]


def test_one_pair_of_each_kind() -> None:
    figures = template_pair_figures(np.array([0.9, 0.1]), np.array([True, False]), name="made", fars=(0.1, 0.9))
    assert list(figures.tar_at_far.values()) == [None, None]
    assert [point.tar for point in figures.nearest.values()] == [1.0, 1.0]


@pytest.mark.parametrize("same", [[True, True], [False, False]])
def test_a_class_without_pairs(same: list[bool]) -> None:
    with pytest.raises(DataError, match=r"made: it holds . genuine and . impostor pairs, and both kinds are needed"):
        template_pair_figures(np.array([0.9, 0.1]), np.array(same), name="made")


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_scores_that_are_not_finite(fault: float) -> None:
    with pytest.raises(DataError, match="made: the embeddings are not finite"):
        template_pair_figures(np.array([0.9, fault]), np.array([True, False]), name="made")


@pytest.mark.parametrize("at_once", [1, 7, 1 << 14])
def test_scores_are_cosines_of_templates_by_their_ids(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(5, 8))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    ids = [3, 8, 9, 40, 700_000]
    pairs = rng.choice(ids, size=(50, 2)).astype(np.int32)
    expected = [np.sum(unit[ids.index(one)] * unit[ids.index(two)]) for one, two in pairs.tolist()]
    np.testing.assert_allclose(score_pairs(Templates(np.array(ids), unit), pairs), expected, rtol=0, atol=1e-15)
