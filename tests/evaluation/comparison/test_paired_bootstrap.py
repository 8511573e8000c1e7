from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from facedistill.errors import DataError
from facedistill.evaluation.comparison.paired_bootstrap import (
    figure_differences,
    figure_intervals,
    resample_figures,
)
from facedistill.evaluation.comparison.weighted_figures import WeightedFigures
from facedistill.evaluation.metrics import fold_accuracies, roc, tar_at_far
from facedistill.evaluation.verification import VerificationResult

FARS = (0.3, 0.1, 0.02)
Made = Callable[..., VerificationResult]


def made_pairs(seed: int, pairs: int = 80, *, ties: bool = False) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    distances = np.clip(rng.normal(np.where(same, 1.0, 1.6), 0.4), 0, 4)
    return np.round(distances, 1) if ties else distances, same, np.arange(pairs) % 5


def repeated(weights: npt.NDArray[np.float64], *arrays: Any) -> list[Any]:
    return [np.repeat(array, weights.astype(int)) for array in arrays]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_weight_counts_as_so_many_copies(seed: int, ties: bool) -> None:
    distances, same, folds = made_pairs(seed, ties=ties)
    weights = np.random.default_rng(seed).integers(0, 4, size=len(same)).astype(float)
    if seed == 1:
        weights[folds == 2] = 0
    found = dict(zip(*(lambda f: (f.names, f.of(weights)))(WeightedFigures(distances, same, folds, FARS)), strict=True))
    distances, same, folds = repeated(weights, distances, same, folds)
    assert found["accuracy"] == pytest.approx(fold_accuracies(distances, same, folds).mean, abs=1e-12)
    assert found["auc"] == pytest.approx(oracle.roc_auc_score(same, -distances), abs=1e-12)
    assert found["eer"] == pytest.approx(roc(distances, same).equal_error_rate, abs=1e-12)
    for label, far in zip(("3e-1", "1e-1", "2e-2"), FARS, strict=True):
        impostor = np.sort(distances[~same])
        threshold = impostor[math.floor(far * len(impostor) + 1e-9)]
        assert np.isnan(found[label]) if far == 0.02 else found[label] == np.mean(distances[same] < threshold)


def test_a_distance_on_a_threshold_is_refused() -> None:
    """Fold 0 picks 1.00, which refuses the genuine pair of fold 1; that one picks 1.01."""
    distances, same, folds = (
        np.array([0.995, 1.5, 1.0, 1.5]),
        np.array([1, 0, 1, 0], dtype=bool),
        np.array([0, 0, 1, 1]),
    )
    assert WeightedFigures(distances, same, folds, ()).of(np.ones(4))[0] == (1.0 + 0.5) / 2


@pytest.mark.parametrize("ties", [False, True])
def test_the_estimate_is_what_the_protocol_gives(ties: bool) -> None:
    """To the last digit, so that one report never shows two accuracies."""
    distances, same, folds = made_pairs(3, 200, ties=ties)
    found = resample_figures(distances, same, folds, fars=FARS, resamples=2)
    expected = [
        fold_accuracies(distances, same, folds).mean,
        roc(distances, same).equal_error_rate,
        roc(distances, same).area,
        *(point.tar for far in FARS if (point := tar_at_far(distances, same, far)) is not None),
    ]
    assert found.estimate.tolist() == expected


def test_pairs_are_drawn_within_their_class() -> None:
    """Against the bootstrap written out: the same draws, the pairs copied."""
    distances, same, folds = made_pairs(4)
    found = resample_figures(distances, same, folds, fars=FARS, resamples=20, seed=7)
    assert found.over == "pairs"
    rng = np.random.default_rng(7)
    for row in found.resampled:
        drawn = np.concatenate([rng.choice(np.flatnonzero(kind), size=kind.sum()) for kind in (same, ~same)])
        assert row[0] == pytest.approx(fold_accuracies(distances[drawn], same[drawn], folds[drawn]).mean)
        assert row[2] == pytest.approx(oracle.roc_auc_score(same[drawn], -distances[drawn]))
    assert len({*found.resampled[:, 2]}) > 15


def test_people_are_drawn_whole() -> None:
    """Against the definition: copies of people, each pair once for every copy, or couple of copies, that has it."""
    rng = np.random.default_rng(5)
    distances, same, folds = made_pairs(5)
    people = rng.permutation(1000)[rng.integers(0, 12, size=(len(same), 2))]
    people[same, 1] = people[same, 0]
    clash = ~same & (people[:, 0] == people[:, 1])
    people[clash, 1] = 5000
    found = resample_figures(distances, same, folds, people=people, fars=FARS, resamples=20, seed=7)
    assert found.over == "people"
    names = np.unique(people)
    rng = np.random.default_rng(7)
    for row in found.resampled:
        drawn = names[rng.integers(len(names), size=len(names))].tolist()
        copies = [
            index
            for index, (one, other) in enumerate(people.tolist())
            for first, second in [(a, b) for a in range(len(drawn)) for b in range(len(drawn))]
            if drawn[first] == one and drawn[second] == other and (not same[index] or first == second)
        ]
        assert row[0] == pytest.approx(fold_accuracies(distances[copies], same[copies], folds[copies]).mean)
        assert row[2] == pytest.approx(oracle.roc_auc_score(same[copies], -distances[copies]))


def test_a_draw_without_a_class_is_made_again() -> None:
    """One genuine person of five, and one impostor pair: nearly every second draw lacks one of them."""
    people = np.array([[1, 1], [1, 1], [2, 3], [2, 3], [4, 5], [4, 5]])
    same = people[:, 0] == people[:, 1]
    found = resample_figures(
        np.where(same, 0.1, 2.0), same, np.array([0, 1, 0, 1, 0, 1]), people=people, fars=(0.3,), resamples=50
    )
    assert np.isfinite(found.resampled).all()
    assert found.resampled[:, 2].tolist() == [1.0] * 50


def test_a_seed_gives_one_result_and_another_seed_another() -> None:
    pairs = made_pairs(6)
    one, again, other = (resample_figures(*pairs, resamples=20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.resampled, again.resampled)
    assert one.drawn == again.drawn != other.drawn
    assert (one.resampled[:, 2] != other.resampled[:, 2]).any()


def test_differences_are_taken_within_each_resample() -> None:
    """The second model is the first with a few of its errors mended, so that it is above in every resample."""
    distances, same, folds = made_pairs(7, 400)
    mended = distances.copy()
    wrong = np.flatnonzero(same & (distances > 1.3))[:12]
    mended[wrong] = 0.2
    first, second = (resample_figures(d, same, folds, fars=FARS, resamples=300) for d in (distances, mended))
    differences, intervals = figure_differences(second, first), figure_intervals(first)
    accuracy, area = differences["accuracy"], differences["auc"]
    assert accuracy is not None
    assert area is not None
    assert accuracy.estimate == pytest.approx(second.estimate[0] - first.estimate[0])
    assert accuracy.excludes_zero
    assert area.low > 0
    alone = intervals["auc"]
    assert alone is not None
    assert alone.high - alone.low > 2 * (area.high - area.low), "the same pairs are hard for both"
    turned = figure_differences(first, second)["auc"]
    assert turned is not None
    assert (turned.estimate, turned.low, turned.high) == pytest.approx((-area.estimate, -area.high, -area.low))
    assert turned.excludes_zero


def test_a_model_does_not_differ_from_itself() -> None:
    figures = resample_figures(*made_pairs(8), fars=FARS, resamples=20)
    for name, found in figure_differences(figures, figures).items():
        if name == "2e-2":
            assert found is None
        else:
            assert found is not None
            assert found.to_dict() == {"estimate": 0.0, "low": 0.0, "high": 0.0}
            assert not found.excludes_zero


def test_intervals_are_percentiles() -> None:
    figures = resample_figures(*made_pairs(9), fars=FARS, resamples=101)
    found = figure_intervals(figures, confidence=0.9)["auc"]
    assert found is not None
    ordered = np.sort(figures.resampled[:, 2])
    assert (found.low, found.high) == pytest.approx((ordered[5], ordered[95]))


@pytest.mark.parametrize(("distance", "accuracy", "area"), [(0.5, 1.0, 1.0), (3.5, 0.0, 0.0)])
def test_perfect_and_inverted_models(distance: float, accuracy: float, area: float) -> None:
    same, folds = np.arange(40) % 2 == 0, np.arange(40) // 2 % 5
    distances = np.where(same, distance, 2.0)
    found = resample_figures(distances, same, folds, fars=(0.1,), resamples=20)
    assert figure_intervals(found)["auc"] is not None
    assert found.estimate[2] == area
    assert (found.resampled[:, 2] == area).all()
    assert (found.resampled[:, 3] == area).all()
    if accuracy:
        assert (found.resampled[:, 0] == accuracy).all()
    else:
        assert found.estimate[0] == fold_accuracies(distances, same, folds).mean <= 0.5


def test_all_distances_equal() -> None:
    _, same, folds = made_pairs(1)
    found = resample_figures(np.full(len(same), 1.0), same, folds, fars=(0.1,), resamples=5)
    assert (found.resampled[:, 1:] == [0.5, 0.5, 0.0]).all()


def test_stratified_folds_where_there_are_none() -> None:
    distances, same, _ = made_pairs(2)
    assert 0.5 < resample_figures(distances, same, resamples=2).estimate[0] <= 1


def test_what_makes_no_sense() -> None:
    distances, same, folds = made_pairs(0)
    with pytest.raises(DataError, match="made: a distance is not finite"):
        resample_figures(np.where(same, np.nan, distances), same, folds, name="made")
    with pytest.raises(DataError, match="both kinds are needed"):
        resample_figures(distances, np.ones_like(same), folds)
    with pytest.raises(DataError, match="cannot be cut into folds"):
        resample_figures(distances[:1], same[:1])
    with pytest.raises(DataError, match="genuine pair is of two people"):
        resample_figures(distances, same, folds, people=np.tile([1, 2], (len(same), 1)))
    with pytest.raises(ValueError, match="FAR"):
        resample_figures(distances, same, folds, fars=(0.0,))
    with pytest.raises(ValueError, match="resamples"):
        resample_figures(distances, same, folds, resamples=1)
    one, other = (resample_figures(distances, same, folds, resamples=2, seed=seed) for seed in (0, 1))
    with pytest.raises(ValueError, match="different pairs or resamples"):
        figure_differences(one, other)
    with pytest.raises(ValueError, match="confidence"):
        figure_intervals(one, confidence=95)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_order_of_the_pairs_does_not_matter(seed: int, shuffle: int) -> None:
    distances, same, folds = made_pairs(seed, 40, ties=True)
    order = np.random.default_rng(shuffle).permutation(40)
    weights = np.random.default_rng(seed).integers(0, 3, size=40).astype(float)
    weights[:2] = 1
    if weights[same].any() and weights[~same].any():
        one = WeightedFigures(distances, same, folds, FARS).of(weights)
        other = WeightedFigures(distances[order], same[order], folds[order], FARS).of(weights[order])
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """The area under the curve of a normal model, known exactly, on lists where a person has several genuine pairs.

    Of 60 lists, 48 or more of the 95 % intervals hold it, more than five standard errors of chance below.
    """
    truth = 0.5 * math.erfc(-0.8 / math.sqrt(2 * (0.5**2 + 0.4**2)))
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        owner = np.repeat(np.arange(60), 4)
        # Half of the variance of a genuine pair is its person's.
        genuine = 0.5 * math.sqrt(0.5) * (rng.normal(size=60)[owner] + rng.normal(size=240))
        impostor = 0.8 + 0.4 * rng.normal(size=240)
        people = np.concatenate([np.stack([owner, owner], 1), 1000 + np.arange(480).reshape(-1, 2)])
        same = np.arange(480) < 240
        distances = np.clip(2 + np.concatenate([genuine, impostor]), 0, 4)
        area = figure_intervals(resample_figures(distances, same, people=people, resamples=80, seed=seed))["auc"]
        assert area is not None
        covered += area.low <= truth <= area.high
    assert 48 <= covered < 60
