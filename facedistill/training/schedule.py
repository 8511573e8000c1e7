"""The learning rate as a function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facedistill.errors import UsageError, unknown_name

GAMMA = 0.1
"""What the step schedule multiplies the rate by at each milestone (ArcFace, section 3.1)."""


@dataclass(frozen=True)
class Decay:
    """Where a schedule stands after its warm-up.

    Args:
        step: 0-based number of the step about to be taken.
        progress: share of the steps between warm-up and end that is done, 0 to 1.
        milestones: steps at which the rate drops.
        gamma: by what factor.
        power: exponent of the polynomial.
    """

    step: int
    progress: float
    milestones: Sequence[int]
    gamma: float
    power: float


def cosine(decay: Decay) -> float:
    """Half a cosine from 1 down to 0 (SGDR, arXiv 1608.03983, equation 5, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * decay.progress))


def poly(decay: Decay) -> float:
    """(1 - progress) ** power; power 1, a straight line to 0, is the schedule of arcface_torch."""
    return float((1 - decay.progress) ** decay.power)


def step(decay: Decay) -> float:
    """1, times gamma for each milestone that has been reached."""
    return float(decay.gamma ** sum(decay.step >= milestone for milestone in decay.milestones))


def constant(decay: Decay) -> float:
    """Always 1."""
    return 1.0


SCHEDULES: dict[str, Callable[[Decay], float]] = {"cosine": cosine, "poly": poly, "step": step, "constant": constant}
"""Name -> share of the highest learning rate."""


def make_schedule(
    name: str,
    *,
    base: float,
    total_steps: int,
    warmup_steps: int,
    steps_per_epoch: int,
    milestones: Sequence[float] = (),
    gamma: float = GAMMA,
    power: float = 1.0,
    floor: float = 0.0,
) -> Callable[[int], float]:
    """The learning rate of each step: linear warm-up from base / warmup_steps, then the schedule called `name`.

    Warm-up and milestones are counted from the start of the run. The last step has not quite reached the end of a
    cosine or a polynomial, which would be one step on.

    Args:
        name: one of `SCHEDULES`.
        base: the highest learning rate.
        total_steps: optimizer steps of the whole run.
        warmup_steps: steps of the warm-up, 0 for none.
        steps_per_epoch: optimizer steps of an epoch.
        milestones: epochs, whole or not, after which the step schedule multiplies the rate by `gamma`.
        gamma: the factor of the step schedule.
        power: the exponent of the polynomial schedule.
        floor: the lowest rate after the warm-up, as a share of `base`. A cosine and a polynomial are flattened to end
            there; the step schedule stops falling there.

    Returns:
        A function from the 0-based number of the step about to be taken to its learning rate.

    Raises:
        UsageError: there is no such schedule, or a number makes none; milestones that the schedule needs are missing,
            do not increase, or lie outside the run.
    """
    if name not in SCHEDULES:
        raise unknown_name("learning-rate schedule", name, SCHEDULES)
    if base <= 0:
        raise UsageError(f"the learning rate has to be above 0, and it is {base:g}", place="--lr")
    if power <= 0:
        raise UsageError(f"the power of the poly schedule has to be above 0, and it is {power:g}", place="--power")
    if not 0 < gamma <= 1:
        raise UsageError(f"the factor has to be above 0 and at most 1, and it is {gamma:g}", place="--gamma")
    if not 0 <= floor <= 1:
        raise UsageError(
            f"the lowest learning rate is a share of the highest, 0 to 1, and it is {floor:g}", place="--lr-floor"
        )
    drops = [round(epoch * steps_per_epoch) for epoch in milestones]
    if name == "step":
        check_milestones(milestones, epochs=total_steps / steps_per_epoch)
    shape = SCHEDULES[name]

    def rate(number: int) -> float:
        if number < warmup_steps:
            return base * (number + 1) / warmup_steps
        progress = min(1.0, (number - warmup_steps) / max(1, total_steps - warmup_steps))
        share = shape(Decay(number, progress, drops, gamma, power))
        if name == "step":
            return base * max(floor, share)
        return base * (floor + (1 - floor) * share)

    return rate


def check_milestones(milestones: Sequence[float], *, epochs: float) -> None:
    """UsageError where milestones of the step schedule are missing, do not increase, or lie outside the run."""
    if not milestones:
        raise UsageError(
            "the step schedule needs milestones, the epochs after which the learning rate drops",
            place="--milestones",
            next_step=f"Give some, such as {epochs / 2:g} and {epochs * 3 / 4:g} of {epochs:g} epochs",
        )
    shown = ", ".join(f"{milestone:g}" for milestone in milestones)
    if any(later <= earlier for earlier, later in itertools.pairwise(milestones)):
        raise UsageError(
            f"the milestones of the step schedule have to increase, and they are {shown}", place="--milestones"
        )
    if milestones[0] <= 0 or milestones[-1] >= epochs:
        raise UsageError(
            f"the milestones of the step schedule are {shown}, and the run goes from epoch 0 to {epochs:g}",
            place="--milestones",
            next_step="Leave out those that lie outside",
        )
