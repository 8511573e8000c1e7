"""The same training by one process with whole batches, and by several with equal parts of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from facedistill.checkpoint import BackboneSpec
from facedistill.data.batches.sampling import IdentitySampler, Sampler, ShuffledSampler
from facedistill.data.decoding import Indices
from facedistill.data.open_dataset import open_dataset
from facedistill.distill import triplet as triplet_module
from facedistill.distill.method import DistillationBatch, Setting
from facedistill.distill.mining import Triplets
from facedistill.distill.terms import parse_terms
from facedistill.embedders.cached_rows import CachedRows
from facedistill.heads import make_head
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import rank, ranks, sum_over_ranks
from facedistill.training import saving
from facedistill.training.listeners import Listeners
from facedistill.training.loop import fit
from facedistill.training.objective import Classification, Distillation
from facedistill.training.options import TrainingOptions
from facedistill.training.processes import join_processes
from facedistill.training.run_folder import RunFolder
from facedistill.training.teaching import CachedTeaching
from facedistill.training.train_teacher import TeacherOptions
from facedistill.training.training import Training

IMAGES, SIZE, STEPS = 12, 8, 3
DATA = "made-up:8x4,size=32"
SETTING = Setting(student_size=SIZE, teacher_size=SIZE, identities=8)
# A mean over pairs, a mean over images, and both in one loss.
LOSSES: dict[str, tuple[str, ...]] = {
    "triplet": (),
    "triplet-distillation": (),
    "cosine": (),
    "cosine:2": ("triplet-distillation:0.5", "sp:0.1"),
}


def name_processes() -> None:
    """Set the variables of a launcher in a process that `run_in_two_processes` has begun."""
    place = {"RANK": rank(), "LOCAL_RANK": rank(), "WORLD_SIZE": ranks(), "LOCAL_WORLD_SIZE": ranks()}
    os.environ.update({name: str(value) for name, value in place.items()})


def figure_of_all(total: torch.Tensor, weight: torch.Tensor | None, whole_batch: bool) -> torch.Tensor:
    """A figure over all processes, as the meter takes it."""
    one = torch.ones(()) if weight is None else weight
    if whole_batch:
        return total / one
    return sum_over_ranks(total) / (1 if weight is None else sum_over_ranks(weight))


def gradients_of_methods() -> dict[str, list[dict[str, Any]]]:
    """A few steps of every method on a backbone of one matrix, whose gradient is averaged as DDP does."""
    mined: list[Triplets] = []
    mine = triplet_module.mine

    def mine_and_tell(batch: DistillationBatch, options: triplet_module.MiningOptions) -> triplet_module.Mined:
        found = mine(batch, options)
        mined.append(found.drawn)
        return found

    found: dict[str, list[dict[str, Any]]] = {}
    triplet_module.mine = mine_and_tell
    try:
        for name, plus in LOSSES.items():
            objective = Distillation(parse_terms(name, plus), SETTING)
            backbone = nn.Parameter(torch.eye(SIZE))
            found[name] = []
            for step in range(STEPS):
                generator = torch.Generator().manual_seed(step)
                images, teacher = torch.randn(2, IMAGES, SIZE, generator=generator)
                labels = torch.randint(0, 4, (IMAGES,), generator=generator)
                own = slice(rank() * IMAGES // ranks(), (rank() + 1) * IMAGES // ranks())
                mined.clear()
                torch.manual_seed(step)
                output = objective(DistillationBatch(images[own] @ backbone, teacher[own], labels[own]))
                output.loss.backward()
                assert backbone.grad is not None
                gradient = sum_over_ranks(backbone.grad) / ranks()
                backbone.grad = None
                loss = output.loss.detach()
                found[name].append(
                    {
                        "loss": loss if objective.whole_batch else sum_over_ranks(loss) / ranks(),
                        "gradient": gradient,
                        "mined": [tuple(triplets) for triplets in mined],
                        "figures": {
                            name: figure_of_all(total, weight, objective.whole_batch)
                            for name, (total, weight) in output.figures.items()
                        },
                    }
                )
                with torch.no_grad():
                    backbone -= 0.1 * gradient
    finally:
        triplet_module.mine = mine
    return found


@dataclass
class Share:
    """A part of each batch for each process; one process alone has all."""

    whole: Sampler

    def batches(self, epoch: int) -> list[Indices]:
        return [np.split(batch, ranks())[rank()] for batch in self.whole.batches(epoch)]


class Statistics(nn.Module):
    """Stands for the running statistics of a batch norm, without using them: the mean and square of what passes."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(features.detach().mean(dim=(0, 2, 3)), alpha=0.1)
        return features


def small_backbone() -> nn.Module:
    """Without batch norm, whose statistics are those of the images that one process has of a batch."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=4), Statistics(), nn.PReLU(4), nn.Flatten(), nn.Linear(4 * 7 * 7, SIZE)
    )


CASES: dict[str, dict[str, Any]] = {
    "head": {"head": "adaface", "accumulate": 2},
    "PartialFC": {"head": "magface", "rate": 1.0, "ema": 0.9},
    "triplet-distillation": {"method": "triplet-distillation", "accumulate": 2},
    "cosine": {"method": "cosine", "optimizer": "adamw", "lr": 0.01},
    "several terms": {"method": "cosine", "plus": ("triplet-distillation:0.5", "margin-softmax:0.01")},
}


def train(
    out: Path, case: dict[str, Any], *, resume: str = "no", listeners: Listeners | None = None, **changes: Any
) -> Training:
    """A training of a few steps with whole batches of eight, however many processes share them."""
    values = {"batch_size": 8, "epochs": 2, "warmup_epochs": 0, "input_size": 32, "device": "cpu", "log_every": 3}
    values |= {"clip_norm": 0.5, "lr": 0.05} | {
        name: value for name, value in case.items() if name not in ("head", "rate", "method", "plus")
    }
    options: TrainingOptions = TeacherOptions(**(values | changes))
    dataset = open_dataset([Path(DATA)])
    fabric = join_processes(options.device, options.precision)
    run = RunFolder(out, resume=resume)
    run.agree()
    torch.manual_seed(0)
    backbone = small_backbone()
    teacher = None
    objective: Classification | Distillation
    sampler: Sampler
    if "head" in case:
        head = make_head(
            case["head"], SIZE, len(dataset.identities), scale=8.0, margin=None, sample_rate=case.get("rate")
        )
        # Of a length near 1, so that gradients are near 1 too, where float32 has a resolution of 1e-7.
        with torch.no_grad():
            next(iter(head.parameters())).mul_(25)
        objective = Classification(head)
        sampler = ShuffledSampler(len(dataset), 8 // ranks(), seed=0, rank=rank(), ranks=ranks())
    else:
        terms = parse_terms(case["method"], case.get("plus", ()))
        objective = Distillation(terms, SETTING)
        sampler = Share(IdentitySampler(dataset.labels, 8, 2, seed=0))
        rows = np.random.default_rng(0).normal(size=(2, len(dataset), SIZE)).astype(np.float32)
        teacher = CachedTeaching(CachedRows.in_memory(rows[0], rows[1]))
    training = Training(
        fabric=fabric,
        backbone=backbone,
        spec=BackboneSpec("small", SIZE),
        preprocessing=Preprocessing(size=32),
        objective=objective,
        dataset=dataset,
        sampler=sampler,
        options=options,
        run=run,
        teacher=teacher,
        listeners=Listeners() if listeners is None else listeners,
    )
    fit(training)
    return training


def results(out: Path) -> dict[str, Any]:
    """Of every case, all that must not depend on how many processes there are."""
    saving.plot_curves = lambda records, path: None
    found: dict[str, Any] = {}
    for number, (name, case) in enumerate(CASES.items()):
        training = train(out / f"{ranks()}-{number}", case)
        found[name] = {
            "weights": {key: value.detach().clone() for key, value in training.backbone.state_dict().items()},
            "objective": training.objective.state_dict(),
        }
    return found
