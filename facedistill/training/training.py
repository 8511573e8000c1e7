"""All that one run consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.sampling import Sampler
from facedistill.data.dataset import FaceDataset
from facedistill.preprocessing import Preprocessing
from facedistill.training.listeners import Listeners
from facedistill.training.objective import Objective
from facedistill.training.options import TrainingOptions
from facedistill.training.run_folder import RunFolder
from facedistill.training.teaching import Teaching


@dataclass
class Training:
    """What the loop is given.

    Args:
        fabric: devices and precision, with the processes joined.
        backbone: the network to train, on the CPU.
        spec: how it was built.
        preprocessing: its input.
        objective: what it is trained for.
        dataset: the faces.
        sampler: which of them make up which batch of this process.
        options: how it is trained.
        run: where the results go.
        teacher: who teaches, where the objective needs a teacher.
        config: what `config.yaml` holds.
        listeners: who is told how it goes.
    """

    fabric: Fabric
    backbone: nn.Module
    spec: BackboneSpec
    preprocessing: Preprocessing
    objective: Objective
    dataset: FaceDataset
    sampler: Sampler
    options: TrainingOptions
    run: RunFolder
    teacher: Teaching | None = None
    config: dict[str, Any] = field(default_factory=dict)
    listeners: Listeners = field(default_factory=Listeners)
