from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from facedistill.errors import DataError
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.metrics import fold_accuracies
from facedistill.evaluation.slices import SMALLEST, Share, SlicesResult, slice_pairs

Strings = npt.NDArray[np.str_]


def made(seed: int, pairs: int = 600) -> tuple[JudgedPairs, Strings]:
    """Pairs of two groups, the second of which has distances nearer to each other."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    group = np.where(rng.random(pairs) < 0.4, "hard", "easy")
    apart = np.where(group == "hard", 0.3, 0.9)
    distances = np.round(np.clip(rng.normal(np.where(same, 1.4 - apart, 1.4), 0.3), 0, 4), 2)
    return JudgedPairs(np.zeros((pairs, 2), dtype=np.int64), same, np.arange(pairs) % 6, distances), group


def sliced(seed: int = 0, **settings: object) -> SlicesResult:
    judged, group = made(seed)
    return slice_pairs(judged, group.tolist(), name="made", column="group", fars=(0.1, 1e-3), **settings)  # type: ignore[arg-type]


@given(st.integers(0, 500), st.integers(1, 500))
def test_oracle_wilson(count: int, of: int) -> None:
    count = min(count, of)
    expected = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert Share(count, of).ends == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_against_a_slow_loop() -> None:
    judged, group = made(0)
    found = sliced()
    thresholds = dict(
        zip(range(6), fold_accuracies(judged.distances, judged.same, judged.folds).thresholds, strict=True)
    )
    impostor = sorted(judged.distances[~judged.same])
    threshold = impostor[math.floor(0.1 * len(impostor))]
    assert [each.name for each in found.slices] == ["easy", "hard"]
    for each in found.slices:
        right = genuine = accepted = impostors = admitted = members = 0
        for index in range(len(judged.same)):
            if group[index] != each.name:
                continue
            members += 1
            right += (judged.distances[index] < thresholds[index % 6]) == judged.same[index]
            below = judged.distances[index] < threshold
            if judged.same[index]:
                genuine, accepted = genuine + 1, accepted + below
            else:
                impostors, admitted = impostors + 1, admitted + below
        assert (each.genuine, each.impostor) == (genuine, impostors)
        assert each.figures["accuracy"] == Share(right, members)
        assert each.figures["TAR at 1e-1"] == Share(accepted, genuine)
        assert each.figures["FAR at 1e-1"] == Share(admitted, impostors)
        assert each.figures["TAR at 1e-3"] is each.figures["FAR at 1e-3"] is None, "300 impostor pairs"


def test_the_gap_and_the_worst_slice() -> None:
    found = sliced()
    easy, hard = (each.figures["accuracy"] for each in found.slices)
    assert easy is not None
    assert hard is not None
    gaps = {gap.figure: gap for gap in found.gaps}
    assert set(gaps) == {"accuracy", "TAR at 1e-1", "FAR at 1e-1"}
    accuracy = gaps["accuracy"]
    assert (accuracy.best, accuracy.worst) == ("easy", "hard")
    assert accuracy.size == pytest.approx(easy.value - hard.value)
    assert accuracy.told_apart
    assert easy.ends[0] > hard.ends[1]


def test_of_false_accepts_the_lowest_are_best() -> None:
    judged, group = made(1)
    distances = judged.distances.copy()
    distances[(group == "easy") & ~judged.same] -= 0.3
    found = slice_pairs(
        JudgedPairs(judged.pairs, judged.same, judged.folds, distances),
        group.tolist(),
        name="m",
        column="g",
        fars=(0.1,),
    )
    gap = next(gap for gap in found.gaps if gap.figure == "FAR at 1e-1")
    assert (gap.best, gap.worst) == ("hard", "easy")
    assert gap.size > 0
    assert gap.told_apart


def test_slices_that_do_not_differ() -> None:
    judged, _ = made(2)
    found = slice_pairs(judged, [str(index // 6 % 2) for index in range(600)], name="m", column="g", fars=(0.1,))
    assert not any(gap.told_apart for gap in found.gaps)


def test_small_slices_are_named_and_neither_best_nor_worst() -> None:
    judged, group = made(0)
    values = group.tolist()
    # The genuine pairs that are farthest apart, so that no other slice would be worse.
    farthest = np.argsort(np.where(judged.same, -judged.distances, 9.0))[: SMALLEST - 1]
    few = [*farthest, *np.flatnonzero(~judged.same)[:SMALLEST]]
    for index in few:
        values[index] = "few"
    found = slice_pairs(judged, values, name="made", column="group", fars=(0.1,))
    gaps = {gap.figure: gap for gap in found.gaps}
    for figure in ("accuracy", "TAR at 1e-1"):
        assert {gaps[figure].best, gaps[figure].worst} == {"easy", "hard"}
    (warning,) = found.warnings()
    assert "fewer than 50 genuine or impostor pairs" in warning
    assert warning.endswith(": few")
    assert slice_pairs(judged, ["one"] * 600, name="made", column="group").gaps == ()


def test_a_slice_of_one_kind_is_not_compared_by_accuracy() -> None:
    """Pairs of two groups are all impostors, and easier or harder as such."""
    judged, group = made(0)
    values = [
        "hard / easy" if not same and index % 2 else value
        for index, (same, value) in enumerate(zip(judged.same, group, strict=True))
    ]
    found = slice_pairs(judged, values, name="made", column="group", fars=(0.1,))
    across = found.slices[2]
    assert (across.name, across.genuine) == ("hard / easy", 0)
    assert across.figures["TAR at 1e-1"] is None
    assert across.figures["accuracy"] is not None
    gaps = {gap.figure: gap for gap in found.gaps}
    assert {gaps["accuracy"].best, gaps["accuracy"].worst} == {"easy", "hard"}
    table = found.table()
    assert table[1][2][0] == "hard / easy"
    assert "-" in table[1][2]


def test_pairs_without_a_value() -> None:
    judged, group = made(0)
    values = [None if index < 100 else value for index, value in enumerate(group.tolist())]
    found = slice_pairs(judged, values, name="made", column="group", fars=(0.1,))
    assert found.unknown == 100
    assert sum(each.genuine + each.impostor for each in found.slices) == 500
    assert found.warnings() == ["group: 100 pairs without a value are in no slice"]


def test_table_and_json() -> None:
    found = sliced(order=["hard", "easy", "absent"], source="list.csv", source_sha256="ab")
    columns, rows = found.table()
    assert columns == ["group", "genuine", "impostor", "accuracy", "TAR at 1e-1", "FAR at 1e-1"]
    assert [row[0] for row in rows] == ["hard", "easy", "gap (worst)"]
    share = found.slices[0].figures["accuracy"]
    assert share is not None
    low, high = share.ends
    assert rows[0][3] == f"{100 * share.value:.2f} ({100 * low:.2f} to {100 * high:.2f})"
    assert rows[2][3] == f"{100 * found.gaps[0].size:.2f} (hard)"
    values = json.loads(json.dumps(found.to_dict()))
    assert (values["source"], values["source_sha256"], values["column"]) == ("list.csv", "ab", "group")
    assert values["slices"][0]["figures"]["accuracy"]["count"] == share.count
    assert values["slices"][0]["figures"]["TAR at 1e-3"] is None
    assert values["gaps"][0]["worst"] == "hard"


def test_values_that_do_not_fit() -> None:
    judged, _ = made(0)
    with pytest.raises(DataError, match="made: 3 values for 600 pairs"):
        slice_pairs(judged, ["a", "b", "c"], name="made", column="group")
    with pytest.raises(DataError, match="no pair has a value of 'group'"):
        slice_pairs(judged, [None] * 600, name="made", column="group")
