from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from facedistill.errors import DataError
from facedistill.evaluation.folds import contiguous_folds, hold_both_classes, stratified_folds


@pytest.mark.parametrize("pairs", [10, 6000, 7003, 19])
def test_contiguous_folds_are_those_of_scikit_learn(pairs: int) -> None:
    """insightface cuts its sets with KFold(n_splits=10, shuffle=False)."""
    folds = contiguous_folds(pairs)
    for fold, (_, held_out) in enumerate(KFold(n_splits=10, shuffle=False).split(np.arange(pairs))):
        assert np.flatnonzero(folds == fold).tolist() == held_out.tolist()


@given(st.lists(st.booleans(), min_size=4, max_size=200))
def test_stratified_folds_share_out_each_class_equally(flags: list[bool]) -> None:
    same = np.array(flags)
    genuine, impostor = int(same.sum()), int((~same).sum())
    if min(genuine, impostor) < 2:
        with pytest.raises(DataError, match=f"{genuine} genuine and {impostor} impostor"):
            stratified_folds(same)
        return
    folds = stratified_folds(same)
    count = min(10, genuine, impostor)
    assert set(folds.tolist()) == set(range(count))
    for members in (same, ~same):
        sizes = np.bincount(folds[members], minlength=count)
        assert sizes.max() - sizes.min() <= 1
        assert (np.diff(folds[members]) >= 0).all(), "a class is cut in the order of the list"
    assert hold_both_classes(same, folds)


def test_one_set_of_matched_then_mismatched_pairs() -> None:
    """The layout of LFW's View 1: contiguous folds hold one class each there."""
    same = np.repeat([True, False], 50)
    assert not hold_both_classes(same, contiguous_folds(100))
    folds = stratified_folds(same)
    assert folds.tolist() == [*np.repeat(np.arange(10), 5), *np.repeat(np.arange(10), 5)]
