from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from facedistill.errors import UsageError
from facedistill.training.schedule import SCHEDULES, make_schedule

NAMES = sorted(SCHEDULES)


def schedule(name: str, **changes: Any) -> Callable[[int], float]:
    values: dict[str, Any] = {"base": 0.4, "total_steps": 12, "warmup_steps": 2, "steps_per_epoch": 4}
    if name == "step":
        values["milestones"] = (1.5, 2.25)
    return make_schedule(name, **{**values, **changes})


def rates(name: str, steps: Sequence[int] = range(13), **changes: Any) -> list[float]:
    rate = schedule(name, **changes)
    return [rate(step) for step in steps]


def test_cosine_by_hand() -> None:
    found = rates("cosine")
    assert found[:3] == pytest.approx([0.2, 0.4, 0.4])
    assert found[7] == pytest.approx(0.2)
    assert found[12] == pytest.approx(0.0)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_cosine_is_to_the_last_bit_what_it_always_was() -> None:
    rate = make_schedule("cosine", base=0.1, total_steps=1000, warmup_steps=37, steps_per_epoch=50)
    for step in range(37):
        assert rate(step) == 0.1 * (step + 1) / 37
    for step in range(37, 1100):
        assert rate(step) == 0.1 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 37) / 963)))


def test_poly_step_and_constant_by_hand() -> None:
    assert rates("poly", [0, 1, 2, 7, 11, 12]) == pytest.approx([0.2, 0.4, 0.4, 0.2, 0.04, 0.0])
    assert rates("poly", [2, 7, 12], power=2.0) == pytest.approx([0.4, 0.1, 0.0])
    # After 1.5 epochs of 4 steps: from step 6 on; after 2.25 epochs: from step 9 on.
    assert rates("step", [1, 2, 5, 6, 8, 9, 11]) == pytest.approx([0.4, 0.4, 0.4, 0.04, 0.04, 0.004, 0.004])
    assert rates("step", [5, 6, 9], gamma=0.5) == pytest.approx([0.4, 0.2, 0.1])
    assert rates("constant") == pytest.approx([0.2] + [0.4] * 12)


def test_the_floor_is_a_share_of_the_highest_rate() -> None:
    assert rates("cosine", [0, 2, 7, 12], floor=0.1) == pytest.approx([0.2, 0.4, 0.22, 0.04])
    assert rates("poly", [0, 2, 7, 12], floor=0.5) == pytest.approx([0.2, 0.4, 0.3, 0.2])
    assert rates("step", [5, 6, 9], floor=0.05) == pytest.approx([0.4, 0.04, 0.02])
    assert rates("constant", [5], floor=0.05) == pytest.approx([0.4])


def oracle(main: Callable[[torch.optim.Optimizer], Any], *, warmup: int, steps: int, base: float) -> list[float]:
    """What torch's own schedulers give, warm-up and all, stepped through one by one."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    chained = main(optimizer)
    if warmup > 1:
        # LinearLR gives the full rate at its step `warmup - 1`, as our warm-up does.
        start = lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        chained = lr_scheduler.SequentialLR(optimizer, [start, main(optimizer)], milestones=[warmup])
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        chained.step()
    return found


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize(
    ("name", "changes", "main"),
    [
        ("cosine", {}, lambda optimizer, left: lr_scheduler.CosineAnnealingLR(optimizer, left)),
        ("cosine", {"floor": 0.2}, lambda optimizer, left: lr_scheduler.CosineAnnealingLR(optimizer, left, 0.2 * 0.3)),
        ("poly", {}, lambda optimizer, left: lr_scheduler.PolynomialLR(optimizer, left, power=1.0)),
        ("poly", {"power": 2.5}, lambda optimizer, left: lr_scheduler.PolynomialLR(optimizer, left, power=2.5)),
        # SequentialLR counts the steps of its second scheduler from the end of the first, we from the start.
        (
            "step",
            {"milestones": (2.1, 4.0)},
            lambda optimizer, left: lr_scheduler.MultiStepLR(optimizer, [left - 60 + 21, left - 60 + 40]),
        ),
        ("constant", {}, lambda optimizer, left: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    ],
    ids=["cosine", "cosine-floor", "poly", "poly-2.5", "step", "constant"],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_same_rates_as_the_schedulers_of_torch(
    name: str, changes: dict[str, Any], main: Callable[[torch.optim.Optimizer, int], Any], warmup: int
) -> None:
    expected = oracle(lambda optimizer: main(optimizer, 60 - warmup), warmup=warmup, steps=60, base=0.3)
    settings = {"base": 0.3, "total_steps": 60, "warmup_steps": warmup, "steps_per_epoch": 10, **changes}
    assert rates(name, range(60), **settings) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(
    total=st.integers(1, 300),
    warmup=st.integers(0, 40),
    start=st.integers(0, 299),
    floor=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_a_run_resumed_at_any_step_has_the_rates_of_an_unbroken_one(
    name: str, total: int, warmup: int, start: int, floor: float
) -> None:
    settings = {"total_steps": total, "warmup_steps": warmup, "steps_per_epoch": 1, "floor": floor}
    if name == "step":
        settings["milestones"] = (total / 3, total / 2)
    whole = rates(name, range(total), **settings)
    assert rates(name, range(start, total), **settings) == whole[start:]
    assert all(0 <= rate <= 0.4 * (1 + 1e-12) for rate in whole)
    assert all(rate >= floor * 0.4 * (1 - 1e-12) for rate in whole[warmup:])


@pytest.mark.parametrize("name", NAMES)
def test_without_warm_up_and_past_the_end(name: str) -> None:
    assert rates(name, [0], warmup_steps=0) == [0.4]
    assert rates(name, [99], warmup_steps=0) == rates(name, [12], warmup_steps=0)
    assert rates(name, [0, 2], total_steps=3, warmup_steps=30, milestones=(0.5,)) == pytest.approx([0.4 / 30, 1.2 / 30])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cosin", {}, r"no learning-rate schedule called 'cosin'. Did you mean 'cosine'\?"),
        (
            "step",
            {"milestones": ()},
            r"--milestones: the step schedule needs milestones, .* Give some, such as 1.5 and 2.25 of 3 epochs",
        ),
        ("step", {"milestones": (2.0, 1.0)}, r"milestones of the step schedule have to increase, and they are 2, 1"),
        ("step", {"milestones": (2.0, 2.0)}, "have to increase"),
        ("step", {"milestones": (0.0, 2.0)}, "are 0, 2, and the run goes from epoch 0 to 3"),
        ("step", {"milestones": (1.0, 3.0)}, "are 1, 3, and the run goes from epoch 0 to 3"),
        ("step", {"gamma": 0.0}, "--gamma: the factor has to be above 0 and at most 1, and it is 0"),
        ("poly", {"power": 0.0}, "the power of the poly schedule has to be above 0, and it is 0"),
        ("poly", {"floor": 1.5}, "a share of the highest, 0 to 1, and it is 1.5"),
        ("cosine", {"base": 0.0}, "the learning rate has to be above 0, and it is 0"),
    ],
)
def test_a_wrong_call(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        schedule(name, **changes)
