from __future__ import annotations

import pytest

from facedistill.training.schedule import learning_rate


def test_by_hand() -> None:
    rates = [learning_rate(step, total_steps=10, warmup_steps=2, base=0.4) for step in range(11)]
    assert rates[:3] == pytest.approx([0.2, 0.4, 0.4])
    assert rates[6] == pytest.approx(0.2)
    assert rates[10] == pytest.approx(0.0)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_without_warm_up_and_past_the_end() -> None:
    assert learning_rate(0, total_steps=5, warmup_steps=0, base=1.0) == 1.0
    assert learning_rate(9, total_steps=5, warmup_steps=0, base=1.0) == 0.0
