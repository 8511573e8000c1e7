"""Everything that changes while a run trains, as it is saved and taken up again.

What is random is not among it: sampling, mirroring, augmentation, mining and the choice of negative classes draw from
generators that are seeded by run, epoch and step, so that a resumed run repeats an unbroken one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from facedistill.ranks import rank, ranks
from facedistill.training.average import RunningAverage
from facedistill.training.listeners import Record
from facedistill.training.meter import Meter
from facedistill.training.objective import Objective


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: steps taken.
        epoch: the epoch in progress, 0-based.
        epoch_step: steps taken of it.
        records: all records so far.
        best: the highest accuracy on the benchmark that is followed.
        worse: evaluations since then.
        stopped: patience is at an end.
        finished: nothing is left to do.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    records: list[Record] = field(default_factory=list)
    best: float | None = None
    worse: int = 0
    stopped: bool = False
    finished: bool = False


@dataclass
class TrainingState:
    """The parts that hold state; all on the run's device.

    Args:
        fabric: devices and precision, with a gradient scaler where there is one.
        backbone: the network itself, whatever wraps it.
        objective: heads and methods, with their running statistics.
        optimizer: torch's own, whatever wraps it.
        average: the running average of the backbone's weights, None without one.
        meter: the sums since the last record.
        progress: how far the run is.
    """

    fabric: Fabric
    backbone: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    average: RunningAverage | None
    meter: Meter
    progress: Progress

    @property
    def final_backbone(self) -> nn.Module:
        """The network whose weights are the result: the average where there is one."""
        return self.backbone if self.average is None else self.average.module

    @property
    def in_parts(self) -> bool:
        """Whether every process holds something that the others do not."""
        return ranks() > 1 and any(True for _ in self.objective.sharded_parameters())

    def to_dict(self) -> dict[str, Any]:
        """What this process has to save; nothing for another than the first, unless it alone holds something.

        All processes call this together.
        """
        meter = self.meter.state_dict()
        own: dict[str, Any] = {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}
        if rank() != 0:
            return own if self.in_parts else {}
        return own | {
            "processes": ranks(),
            "progress": asdict(self.progress),
            "backbone": self.backbone.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "meter": meter,
        }

    def restore(self, common: dict[str, Any], own: dict[str, Any]) -> None:
        """Take up what `to_dict` gave.

        Args:
            common: of the first process.
            own: of this one; the same where the processes hold the same.
        """
        self.backbone.load_state_dict(common["backbone"])
        self.objective.load_state_dict(own["objective"])
        self.optimizer.load_state_dict(own["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(common["average"])
        self.fabric.strategy.precision.load_state_dict(common["scaler"])
        self.meter.load_state_dict(common["meter"])
        for name, value in common["progress"].items():
            setattr(self.progress, name, value)
