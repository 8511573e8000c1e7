from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader

from facedistill.errors import UsageError
from facedistill.export.precision.calibration import CalibrationBatches, choose_calibration


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_people_share_the_images_evenly(people: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(people)))
    labels = np.array(people, dtype=np.int64)
    chosen = choose_calibration(labels, count, seed=data.draw(st.integers(0, 9)))
    assert len(set(chosen.tolist())) == count == len(chosen)
    taken, there = Counter(labels[chosen].tolist()), Counter(people)
    most = max(taken.values())
    # Nobody gives two more than another who has some left.
    assert all(taken[person] >= min(most - 1, there[person]) for person in there)


def test_the_seed_decides() -> None:
    labels = np.repeat(np.arange(20), 5)
    first = choose_calibration(labels, 30, seed=1)
    assert first.tolist() == choose_calibration(labels, 30, seed=1).tolist()
    assert first.tolist() != choose_calibration(labels, 30, seed=2).tolist()
    assert first.dtype == np.int64


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_that_cannot_be(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} images to calibrate on cannot be chosen of 3"):
        choose_calibration(np.zeros(3, dtype=np.int64), count)


def test_batches_of_an_array_come_again_after_rewinding() -> None:
    images = np.arange(20, dtype=np.float32).reshape(5, 4)
    batches = CalibrationBatches(images, "pixels", batch=2)
    assert isinstance(batches, CalibrationDataReader)
    assert len(batches) == 3
    for _ in range(2):
        read = [feed["pixels"] for feed in batches]
        assert [len(batch) for batch in read] == [2, 2, 1]
        assert np.array_equal(np.concatenate(read), images)
        assert batches.get_next() is None
        batches.rewind()


def test_batches_as_they_are() -> None:
    given_batches = [np.zeros((3, 1)), np.ones((1, 1))]
    batches = CalibrationBatches(given_batches)
    assert [feed["input"].tolist() for feed in batches] == [[[0], [0], [0]], [[1]]]
    batches.rewind()
    assert len(list(batches)) == 2
