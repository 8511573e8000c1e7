"""The training loop: plain epochs over batches, one loss, one optimiser, a state that can be resumed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from facedistill.checkpoint import BackboneSpec, Checkpoint, save_checkpoint
from facedistill.data.batches.augmentation import Augmentation
from facedistill.data.batches.augmentation_options import AugmentationOptions
from facedistill.data.batches.loader import BatchLoader, ImageBatch
from facedistill.data.batches.mirroring import mirror_flags
from facedistill.data.batches.sampling import Sampler, epoch_generator
from facedistill.data.corrupt_images import CorruptImages
from facedistill.data.dataset import FaceDataset
from facedistill.embedders.load import choose_device
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import TrainingError, UsageError
from facedistill.loss import LossAndFigures
from facedistill.models.layers import channels_last
from facedistill.preprocessing import Preprocessing
from facedistill.processors import available_processors
from facedistill.training.curves import plot_curves
from facedistill.training.listeners import Listeners, Record
from facedistill.training.objective import Objective, TeacherEmbeddings, TrainingStep
from facedistill.training.options import TrainingOptions
from facedistill.training.run_folder import RunFolder
from facedistill.training.schedule import learning_rate

# How many steps may pass between two looks at whether the loss is still finite; each look waits for the device.
FINITE_CHECK_INTERVAL = 25
# Threads or processes that decode images unless told otherwise, or one a processor where there are fewer.
MOST_WORKERS = 8
# Mean distance between people below which the embeddings are one point; a loss that stays at its margin is the sign.
COLLAPSED = 0.01
PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


@dataclass
class Training:
    """All that one run consists of.

    Args:
        backbone: the network to train, on the CPU.
        spec: how it was built.
        preprocessing: its input.
        objective: what it is trained for.
        dataset: the faces.
        sampler: which of them make up which batch.
        options: how it is trained.
        run: where the results go.
        teacher: the teacher's embeddings of `dataset`, where the objective needs them.
        provenance: facts that go into every checkpoint.
        listeners: who is told how it goes.
    """

    backbone: nn.Module
    spec: BackboneSpec
    preprocessing: Preprocessing
    objective: Objective
    dataset: FaceDataset
    sampler: Sampler
    options: TrainingOptions
    run: RunFolder
    teacher: TeacherEmbeddings | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    listeners: Listeners = field(default_factory=Listeners)


def fit(training: Training, *, resume: bool = False) -> list[Record]:
    """Train to the end and return one record an epoch; the run folder holds the weights.

    Sampling, mirroring and mining depend on seed and epoch alone, so that a run that was interrupted after an epoch
    and resumed gives the weights of an unbroken one, bit for bit on the same CPU.

    Raises:
        TrainingError: the loss is no longer finite.
        DataError: more images are corrupt than `max_corrupt` allows.
        UsageError: the launcher started several processes.
    """
    options = training.options
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Left to itself, each process would train on its own and write over the others' results.
        raise UsageError("training in several processes is not supported yet", next_step="Start a single process")
    device = choose_device(options.device)
    fabric = Fabric(accelerator=device.type, devices=1, precision=PRECISIONS[options.precision])
    augmentation = None
    if options.augmentation != AugmentationOptions():
        augmentation = Augmentation(options.augmentation, training.preprocessing.size)
    step_module = TrainingStep(
        channels_last(training.backbone), training.preprocessing, training.objective, augmentation
    )
    optimizer = make_optimizer(step_module, options)
    wrapped, wrapped_optimizer = fabric.setup(step_module, optimizer)
    records: list[Record] = []
    if resume:
        # Once the model is on its device, since the optimiser's state follows the parameters it belongs to.
        state = training.run.load_state()
        step_module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        records = state["records"]
    embedder = TorchEmbedder(
        training.backbone, training.preprocessing, training.spec.embedding_size, name="student", device=fabric.device
    )
    corrupt = CorruptImages(len(training.dataset), options.max_corrupt, training.run.corrupt_images)
    if resume:
        corrupt.take_over()
    with make_loader(training, fabric.device) as loader:
        for epoch in range(len(records), options.epochs):
            record = train_epoch(fabric, wrapped, wrapped_optimizer, training, loader, epoch, corrupt)
            record |= {} if training.listeners.follow is None else training.listeners.follow(embedder)
            records.append(record)
            save_epoch(training, step_module, optimizer, records)
            if training.listeners.on_epoch:
                training.listeners.on_epoch(record)
            if training.listeners.note and record.get("negative_distance", 1.0) < COLLAPSED:
                training.listeners.note(
                    f"epoch {record['epoch']}: the embeddings collapse onto one point (mean distance of a negative "
                    f"{record['negative_distance']:.4f}); try a lower --lr, or an --init that is trained further"
                )
    summary = corrupt.summary("replaced by others")
    if summary is not None and training.listeners.note:
        training.listeners.note(summary)
    plot_curves(records, training.run.path / "curves.png")
    return records


def make_loader(training: Training, device: torch.device) -> BatchLoader:
    """Threads decode for the CPU, which is busy with training anyway, processes for a GPU, unless told otherwise."""
    workers = training.options.workers
    at_most = min(MOST_WORKERS, available_processors())
    processes = (at_most if device.type == "cuda" else 0) if workers is None else workers
    return BatchLoader(training.dataset, training.preprocessing, processes=processes, threads=at_most)


def train_epoch(
    fabric: Fabric,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: Training,
    loader: BatchLoader,
    epoch: int,
    corrupt: CorruptImages,
) -> Record:
    """One pass over the data; the record holds its mean loss and figures."""
    options = training.options
    index_batches = training.sampler.batches(epoch)
    mirrored = epoch_generator(options.seed, epoch, purpose=1).random(len(training.dataset)) < 0.5
    # Mining and augmentation draw from torch's global generator, seeded anew so that a step depends on no other.
    seeds = epoch_generator(options.seed, epoch, purpose=2).integers(2**62, size=len(index_batches))
    total_steps, warmup = options.epochs * len(index_batches), round(options.warmup_epochs * len(index_batches))
    meter = Meter(fabric.device)
    module.train()
    started = asked = time.perf_counter()
    waited, images, rate = 0.0, 0, options.lr
    for number, batch in enumerate(loader.batches(index_batches)):
        waited += time.perf_counter() - asked
        if batch.corrupt:
            corrupt.add({training.dataset.key(index): cause for index, cause in batch.corrupt.items()})
        step = epoch * len(index_batches) + number
        rate = learning_rate(step, total_steps=total_steps, warmup_steps=warmup, base=options.lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(seeds[number]))
        flags = mirror_flags(batch.indices, mirrored) & options.mirror
        output = forward(fabric, module, training, batch, flags)
        fabric.backward(output.loss)
        fabric.clip_gradients(module, optimizer, max_norm=options.clip_norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        meter.add(output, step)
        images += len(batch.indices)
        if number % FINITE_CHECK_INTERVAL == FINITE_CHECK_INTERVAL - 1:
            meter.require_finite(training, rate)
        if training.listeners.progress:
            training.listeners.progress(step + 1, total_steps)
        asked = time.perf_counter()
    meter.require_finite(training, rate)
    figures = meter.figures()
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1,
        "lr": rate,
        **figures,
        "images_per_second": round(images / seconds, 1),
        "waiting_for_images": round(waited / seconds, 4),
    }


def forward(
    fabric: Fabric,
    module: nn.Module,
    training: Training,
    batch: ImageBatch,
    flags: npt.NDArray[np.bool_],
) -> LossAndFigures:
    """Move a batch to the device, mirror what is flagged, and compute its loss."""
    teacher = None
    if training.teacher is not None:
        teacher = to_device(fabric, training.teacher.lookup(batch.indices, flags))
    labels = to_device(fabric, training.dataset.labels[batch.indices])
    output = module(to_device(fabric, batch.images), to_device(fabric, flags), labels, teacher)
    return cast(LossAndFigures, output)


def to_device(fabric: Fabric, array: npt.NDArray[Any]) -> torch.Tensor:
    """Copy an array to the run's device, without waiting for the copy on CUDA."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if fabric.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(fabric.device, non_blocking=True)


def make_optimizer(module: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """SGD or AdamW; batch norms, PReLU slopes and biases, being vectors, get no weight decay."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)
    return torch.optim.AdamW(groups, lr=options.lr)


def save_epoch(training: Training, module: nn.Module, optimizer: torch.optim.Optimizer, records: list[Record]) -> None:
    """Write weights, state and records; the best checkpoint too if this epoch did best on the benchmark."""
    checkpoint = Checkpoint(
        backbone=training.backbone,
        spec=training.spec,
        preprocessing=training.preprocessing,
        provenance={**training.provenance, "epoch": len(records)},
    )
    state = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "records": records}
    training.run.save_state(checkpoint, state)
    training.run.write_records(records)
    scores = [record["accuracy"] for record in records if "accuracy" in record]
    if scores and scores[-1] == max(scores):
        save_checkpoint(training.run.best_checkpoint, checkpoint)


class Meter:
    """Sums of an epoch's loss and figures, kept on the device so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._first_bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self._steps = 0
        self._totals: dict[str, torch.Tensor] = {}
        self._weights: dict[str, torch.Tensor] = {}

    def add(self, output: LossAndFigures, step: int) -> None:
        """Take in one step's output."""
        loss = output.loss.detach()
        bad = ~torch.isfinite(loss) & (self._first_bad_step < 0)
        self._first_bad_step = torch.where(bad, torch.full_like(self._first_bad_step, step), self._first_bad_step)
        self._loss = self._loss + loss
        self._steps += 1
        for name, (total, weight) in output.figures.items():
            self._totals[name] = self._totals.get(name, 0) + total.double()
            if weight is not None:
                self._weights[name] = self._weights.get(name, 0) + weight.double()

    def require_finite(self, training: Training, rate: float) -> None:
        """Stop the run if some step's loss was not finite."""
        step = int(self._first_bad_step)
        if step < 0:
            return
        saved = training.run.last_checkpoint
        next_step = f"The last good weights are in {saved}. " if saved.is_file() else ""
        raise TrainingError(
            f"the loss is no longer finite since step {step + 1} (learning rate {rate:.3g})",
            place=training.run.path,
            next_step=next_step + "Try a lower --lr or a longer --warmup-epochs",
        )

    def figures(self) -> dict[str, float]:
        """The means (or, for counts, the sums) of the epoch."""
        figures = {"loss": float(self._loss) / max(1, self._steps)}
        for name, total in self._totals.items():
            weight = self._weights.get(name)
            figures[name] = float(total) if weight is None else float(total / weight.clamp(min=1))
        return figures
