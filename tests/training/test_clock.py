from __future__ import annotations

import pytest

from facedistill.training import clock
from facedistill.training.clock import Clock


class Time:
    """Stands still unless told otherwise."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "time", time)
    return time


def test_rate_and_share_by_hand(time: Time) -> None:
    measured = Clock()
    for _ in range(2):
        with measured.waiting():
            time.now += 0.5
        time.now += 1.5
        measured.images += 100
    assert measured.figures() == {"images_per_second": 50.0, "waiting_for_images": 0.25}


def test_the_images_of_all_processes_count(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "ranks", lambda: 4)
    measured = Clock()
    measured.images = 10
    time.now += 2
    assert measured.figures()["images_per_second"] == 20.0


def test_what_came_before_the_first_step_does_not_count(time: Time) -> None:
    measured = Clock()
    time.now += 60  # the teacher's pass over the data
    measured.begin()
    measured.images += 30
    time.now += 3
    assert measured.figures()["images_per_second"] == 10.0
    measured.begin()  # of the next epoch, in the middle of a record
    assert measured.figures()["images_per_second"] == 10.0


def test_no_time_at_all(time: Time) -> None:
    assert Clock().figures() == {"images_per_second": 0.0, "waiting_for_images": 0.0}
