from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from facedistill.evaluation.comparison.agreement import agreement
from facedistill.evaluation.comparison.decisions import Decisions, decide
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import fold_accuracies
from facedistill.evaluation.verification import VerificationResult


def decided(accepted: list[int], same: list[int]) -> Decisions:
    taken = np.array(accepted, dtype=bool)
    return Decisions(np.ones(len(taken)), taken, taken == np.array(same, dtype=bool))


def test_by_hand() -> None:
    same = [1, 1, 1, 1, 0, 0, 0, 0]
    found = agreement(
        decided([1, 1, 1, 0, 1, 0, 0, 0], same), decided([1, 0, 1, 0, 0, 0, 0, 1], same), names=("a", "b")
    )
    assert (found.first, found.second, found.alike) == ("a", "b", 5 / 8)
    assert (found.both_right, found.both_wrong, found.only_first, found.only_second) == (4, 1, 2, 1)
    chance = 4 / 8 * 3 / 8 + 4 / 8 * 5 / 8
    assert found.kappa == pytest.approx((5 / 8 - chance) / (1 - chance))
    assert found.to_dict()["only_first"] == 2


def test_oracle_kappa() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.random((2, 50)) < rng.random((2, 1))
        same = rng.random(50) < 0.5
        found = agreement(Decisions(np.ones(50), one, one == same), Decisions(np.ones(50), other, other == same))
        assert found.kappa == pytest.approx(cohen_kappa_score(one, other))


def test_models_that_decide_all_pairs_in_one_way() -> None:
    same = [1, 0, 1]
    assert agreement(decided([1, 1, 1], same), decided([1, 1, 1], same)).kappa is None
    assert agreement(decided([0, 0, 0], same), decided([0, 0, 0], same)).kappa is None
    opposite = agreement(decided([1, 1, 1], same), decided([0, 0, 0], same))
    assert (opposite.alike, opposite.kappa) == (0.0, 0.0)


def test_each_pair_is_decided_under_the_threshold_of_the_other_folds(made: Callable[..., VerificationResult]) -> None:
    result = made(1)
    assert result.judged is not None
    folds = result.judged.folds[::-1] * 10 - 3  # any integers, in any order
    judged = JudgedPairs(result.judged.pairs, result.judged.same, folds, result.judged.distances)
    found = decide(judged)
    chosen = fold_accuracies(judged.distances, judged.same, folds)
    assert len({*chosen.thresholds}) > 1, "else nothing is tried"
    for fold, accuracy, threshold in zip(np.unique(folds), chosen.accuracies, chosen.thresholds, strict=True):
        assert np.mean(found.right[folds == fold]) == accuracy
        assert (found.thresholds[folds == fold] == threshold).all()
    np.testing.assert_array_equal(found.accepted, judged.distances < found.thresholds)
