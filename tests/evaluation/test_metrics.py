from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from facedistill.evaluation.metrics import (
    THRESHOLDS,
    SortedDistances,
    accepted_impostors,
    cosine_of,
    fold_accuracies,
    impostors_needed,
    roc,
    squared_distances,
    tar_at_far,
)


def random_scores(
    seed: int, genuine: int, impostor: int, decimals: int = 12
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Overlapping distances in random order; few decimals make ties."""
    rng = np.random.default_rng(seed)
    distances = np.concatenate([rng.normal(1.0, 0.35, genuine), rng.normal(1.9, 0.3, impostor)]).clip(0, 4)
    same = np.repeat([True, False], [genuine, impostor])
    order = rng.permutation(len(same))
    return np.round(distances, decimals)[order], same[order]


def unit(seed: int, count: int, size: int) -> npt.NDArray[np.float64]:
    vectors = np.random.default_rng(seed).normal(size=(count, size))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_distances_of_vectors_drawn_by_hand() -> None:
    embeddings = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    pairs = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [2, 3]])
    assert squared_distances(embeddings, pairs) == pytest.approx([0, 2, 4, 0.8, 3.2], abs=1e-6)


def test_squared_distance_and_cosine_say_the_same() -> None:
    """|a - b|^2 = 2 - 2 cos for unit vectors, so one threshold has two spellings."""
    embeddings = unit(0, 50, 8)
    pairs = np.array(list(itertools.combinations(range(50), 2)))
    distances = squared_distances(embeddings, pairs)
    cosines = np.array([float(embeddings[a] @ embeddings[b]) for a, b in pairs])
    assert distances == pytest.approx(2 - 2 * cosines, abs=1e-12)
    assert [cosine_of(distance) for distance in distances] == pytest.approx(cosines, abs=1e-12)
    assert (np.argsort(distances) == np.argsort(-cosines)).all()


def test_more_pairs_than_are_gathered_at_once() -> None:
    embeddings = unit(1, 300, 4)
    pairs = np.array(list(itertools.combinations(range(300), 2)))
    assert len(pairs) > 1 << 14
    expected = np.sum((embeddings[pairs[:, 0]] - embeddings[pairs[:, 1]]) ** 2, axis=1)
    assert squared_distances(embeddings, pairs) == pytest.approx(expected, abs=1e-12)


def test_fold_accuracy_of_a_case_by_hand() -> None:
    """Three folds of four pairs, thresholds 1, 2 and 3.

    Right decisions in each fold:   t = 1            t = 2            t = 3
    fold 0: same 0.5 1.5, not 2.5 3.5   1 + 2 = 3        2 + 2 = 4        2 + 1 = 3
    fold 1: same 0.5 2.5, not 1.5 3.5   1 + 2 = 3        1 + 1 = 2        2 + 1 = 3
    fold 2: same 1.5 2.5, not 2.5 2.5   0 + 2 = 2        1 + 2 = 3        2 + 0 = 2

    Without fold 0: 5, 5, 5 -> the first, t = 1, gives fold 0 3 of 4.
    Without fold 1: 5, 7, 5 -> t = 2 gives fold 1 2 of 4.
    Without fold 2: 6, 6, 6 -> t = 1 gives fold 2 2 of 4.
    """
    distances = np.array([0.5, 1.5, 2.5, 3.5, 0.5, 2.5, 1.5, 3.5, 1.5, 2.5, 2.5, 2.5])
    same = np.array([True, True, False, False] * 3)
    folds = np.repeat([7, 8, 11], 4)
    result = fold_accuracies(distances, same, folds, np.array([1.0, 2.0, 3.0]))
    assert result.accuracies == (0.75, 0.5, 0.5)
    assert result.thresholds == (1.0, 2.0, 1.0)
    assert result.mean == pytest.approx(7 / 12)
    assert result.std == pytest.approx(np.sqrt(((0.75 - 7 / 12) ** 2 + 2 * (0.5 - 7 / 12) ** 2) / 3))
    assert SortedDistances.of(distances, same).best_threshold(np.array([1.0, 2.0, 3.0])) == (2.0, 0.75)


def test_a_pair_at_the_threshold_is_refused() -> None:
    distances, same = np.array([1.0, 1.0, 0.0, 2.0]), np.array([True, False, True, False])
    result = fold_accuracies(distances, same, np.array([0, 0, 1, 1]), np.array([1.0]))
    assert result.accuracies == (0.5, 1.0)


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_fold_accuracy_against_a_slow_loop(decimals: int) -> None:
    distances, same = random_scores(3, 130, 170, decimals)
    folds = np.random.default_rng(4).integers(0, 10, len(same))
    accuracies = []
    for fold in range(10):
        best, chosen = -1, 0.0
        for threshold in THRESHOLDS:
            right = sum(
                bool(distance < threshold) == bool(flag)
                for distance, flag, of in zip(distances, same, folds, strict=True)
                if of != fold
            )
            if right > best:
                best, chosen = right, threshold
        accuracies.append(np.mean((distances < chosen)[folds == fold] == same[folds == fold]))
    assert fold_accuracies(distances, same, folds).accuracies == pytest.approx(accuracies, abs=1e-15)


def test_the_grid_is_that_of_insightface() -> None:
    assert pytest.approx(np.arange(0, 4, 0.01), abs=1e-12) == THRESHOLDS


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="two at least"):
        fold_accuracies(np.array([1.0, 2.0]), np.array([True, False]), np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("far", [1e-1, 3e-2, 1e-2, 2.5e-3])
def test_tar_against_a_slow_loop(far: float, decimals: int) -> None:
    """Of all thresholds that keep the FAR, the loop finds the best TAR."""
    distances, same = random_scores(5, 200, 1000, decimals)
    candidates = [*sorted(set(distances.tolist())), np.inf]
    best = max(
        float(np.mean(distances[same] < threshold))
        for threshold in candidates
        if np.sum(distances[~same] < threshold) <= far * np.sum(~same)
    )
    point = tar_at_far(distances, same, far)
    assert point is not None
    assert point.tar == best
    assert point.far == np.mean(distances[~same] < point.threshold)
    assert point.far <= far
    assert np.mean(distances[~same] <= point.threshold) > far, "a larger threshold would break the FAR"


def test_a_far_that_is_not_exact_in_binary_keeps_its_pairs() -> None:
    """0.29 of 100 impostor pairs are 29 accepted ones, although 0.29 * 100 is a little less than 29 in floats."""
    for far, impostors in ((1e-3, 3000), (1e-1, 30), (1e-2, 700), (1e-4, 10_000), (1e-5, 6_800_000), (0.29, 100)):
        assert accepted_impostors(far, impostors) == round(far * impostors)
    distances = np.array([0.5, 0.25, *np.linspace(1, 2, 10)])
    same = np.array([True, True] + [False] * 10)
    point = tar_at_far(distances, same, 0.1)
    assert point is not None
    assert point.threshold == pytest.approx(1 + 1 / 9)
    assert point.far == pytest.approx(0.1)


def test_a_far_finer_than_the_pairs_is_not_reported() -> None:
    distances, same = random_scores(6, 10, 999)
    assert tar_at_far(distances, same, 1e-3) is None
    distances, same = random_scores(6, 10, 1000)
    assert tar_at_far(distances, same, 1e-3) is not None
    assert [impostors_needed(far) for far in (1e-1, 1e-2, 1e-3, 1e-4, 3e-1)] == [10, 100, 1000, 10_000, 4]


@given(st.integers(0, 1000), st.floats(0.005, 0.4), st.floats(1.0, 2.4))
def test_tar_rises_with_far(seed: int, far: float, factor: float) -> None:
    distances, same = random_scores(seed, 40, 300, decimals=2)
    low, high = tar_at_far(distances, same, far), tar_at_far(distances, same, min(far * factor, 0.99))
    assert low is not None
    assert high is not None
    assert low.tar <= high.tar
    assert low.threshold <= high.threshold


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_the_roc_is_that_of_scikit_learn(decimals: int) -> None:
    distances, same = random_scores(7, 150, 90, decimals)
    far, tar, _ = roc_curve(same, -distances, drop_intermediate=False)
    curve = roc(distances, same)
    assert curve.far == pytest.approx(far, abs=1e-12)
    assert curve.tar == pytest.approx(tar, abs=1e-12)
    assert curve.area == pytest.approx(roc_auc_score(same, -distances), abs=1e-12)
    interpolated = brentq(lambda rate: 1.0 - rate - float(interp1d(far, tar)(rate)), 0.0, 1.0)
    assert curve.equal_error_rate == pytest.approx(interpolated, abs=1e-6)


def test_the_area_counts_ties_half() -> None:
    distances, same = random_scores(8, 30, 20, decimals=1)
    wins = [
        1.0 if genuine < impostor else 0.5 if genuine == impostor else 0.0
        for genuine in distances[same]
        for impostor in distances[~same]
    ]
    assert roc(distances, same).area == pytest.approx(np.mean(wins), abs=1e-12)


def test_distances_that_are_all_equal() -> None:
    """Duplicate thresholds are one point: nothing is divided by their difference of zero."""
    distances, same = np.full(20, 1.25), np.repeat([True, False], 10)
    curve = roc(distances, same)
    assert curve.far.tolist() == [0, 1]
    assert curve.area == pytest.approx(0.5)
    assert curve.equal_error_rate == pytest.approx(0.5)
    point = tar_at_far(distances, same, 0.1)
    assert point is not None
    assert (point.tar, point.far) == (0.0, 0.0)


def test_classes_that_are_apart() -> None:
    distances, same = np.array([0.1, 0.2, 3.0, 3.5]), np.array([True, True, False, False])
    curve = roc(distances, same)
    assert curve.area == 1.0
    assert curve.equal_error_rate == 0.0
    assert roc(distances, ~same).equal_error_rate == 1.0
